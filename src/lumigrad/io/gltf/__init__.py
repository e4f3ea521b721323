"""glTF 2.0: `.gltf` with its buffers and images, and `.glb`."""
