// Linux on x86-64: the functions that the libraries take from glibc, in versions that glibc 2.28 (2018, manylinux_2_28)
// has, whichever glibc they are built with. A wheel therefore runs on older systems than the one that built it.
//
// CMake reads the names below and makes the linker replace each by __wrap_NAME (option --wrap), in our objects and in
// those of the C++ runtime that are linked in. `auditwheel show WHEEL` lists the names that are missing.
#include <cstdint>

#include <unistd.h>

// Functions in their first version. Later versions exist since libpthread, libdl and librt became parts of libc (2.34),
// and since exp and log no longer report errors in the manner of System V (2.29); the results are the same. The linker
// drops those that a library does not call (--gc-sections).
__asm__(R"(
.macro first_version name version
  .symver first_\name, \name\()@GLIBC_\version
  .section .text.__wrap_\name, "ax", @progbits
  .globl __wrap_\name
  .hidden __wrap_\name
  .type __wrap_\name, @function
__wrap_\name:
  jmp first_\name\()@PLT
.endm
.macro of_2_2_5 names:vararg
  .irp name, \names
    first_version \name, 2.2.5
  .endr
.endm
.macro of_2_3_4 names:vararg
  .irp name, \names
    first_version \name, 2.3.4
  .endr
.endm

  of_2_2_5 exp, log
  of_2_2_5 pthread_create, pthread_detach, pthread_join, pthread_once, pthread_mutex_trylock
  of_2_2_5 pthread_key_create, pthread_key_delete, pthread_getspecific, pthread_setspecific, __pthread_key_create
# Of CUDA's runtime:
  of_2_2_5 dlopen, dlclose, dlsym, dlvsym, dlerror
  of_2_2_5 pthread_kill, pthread_condattr_setpshared
  of_2_2_5 pthread_mutexattr_init, pthread_mutexattr_destroy, pthread_mutexattr_settype, pthread_mutexattr_setpshared
  of_2_2_5 pthread_rwlock_init, pthread_rwlock_destroy, pthread_rwlock_rdlock, pthread_rwlock_tryrdlock
  of_2_2_5 pthread_rwlock_wrlock, pthread_rwlock_trywrlock, pthread_rwlock_timedrdlock, pthread_rwlock_timedwrlock
  of_2_2_5 pthread_rwlock_unlock, pthread_rwlockattr_init, pthread_rwlockattr_destroy, pthread_rwlockattr_setpshared
  of_2_2_5 pthread_spin_init, pthread_spin_destroy, pthread_spin_lock, pthread_spin_trylock, pthread_spin_unlock
  of_2_2_5 sem_init, sem_destroy, sem_post, sem_wait, sem_trywait, sem_timedwait, shm_open, shm_unlink
  of_2_3_4 dlmopen
.text
)");

#define LG_INSTEAD_OF(type, name) __attribute__((visibility("hidden"))) type __wrap_##name

extern "C" {

// For std::random_device, which is linked in but not called.
LG_INSTEAD_OF(uint32_t, arc4random)() {
  uint32_t value = 0;
  return getentropy(&value, sizeof value) == 0 ? value : 0;
}

// Whether the process has only one thread, so that the C++ runtime may count references without atomic instructions.
LG_INSTEAD_OF(char, __libc_single_threaded) = 0;

}  // extern "C"
