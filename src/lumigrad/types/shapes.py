"""Shapes in signatures, in the notation of jaxtyping: ``Float[Tensor, "views height width 3"]``.

The string names the dimensions. The same name is the same size everywhere in a signature; ``#name`` may also be 1,
``name+1`` is one more, ``*name`` is any number of dimensions, ``...`` the same without a name, ``_`` is any size. A
string that would be a Python expression, such as a single name, begins with a space, so that linters leave it alone.

To type checkers these are tensors with a note, at run time tensors and nothing else. The tests hold every call to them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__all__ = ["Bool", "Float", "Int", "Int32", "Shaped"]

if TYPE_CHECKING:
    from typing import Annotated as Bool
    from typing import Annotated as Float
    from typing import Annotated as Int
    from typing import Annotated as Int32
    from typing import Annotated as Shaped
else:

    class Shaped:
        """A tensor of any type: ``Shaped[Tensor, "height width"]`` is ``Tensor``."""

        def __class_getitem__(cls, described: tuple[Any, str]) -> Any:
            return described[0]

    Bool = Float = Int = Int32 = Shaped
