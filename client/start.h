/*
 * How the client starts and how it asks the kernel, without a C library in the process: loading one takes four fifths of
 * the time of a small program. The headers of the C library are used, its code is not. A build for tests, with
 * sanitizers, defines WEFT_HOSTED and is an ordinary program.
 */
#include <stddef.h>
#include <string.h>
#include <sys/syscall.h>

/* System calls: the result, or the negative number of an error. Six arguments for all of them. */
static inline long kernel_call(long number, long a, long b, long c, long d, long e, long f)
{
#if defined(__x86_64__)
  register long r10 __asm__("r10") = d;
  register long r8 __asm__("r8") = e;
  register long r9 __asm__("r9") = f;
  long result;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                   : "rcx", "r11", "memory");
  return result;
#elif defined(__aarch64__)
  register long x8 __asm__("x8") = number;
  register long x0 __asm__("x0") = a;
  register long x1 __asm__("x1") = b;
  register long x2 __asm__("x2") = c;
  register long x3 __asm__("x3") = d;
  register long x4 __asm__("x4") = e;
  register long x5 __asm__("x5") = f;
  __asm__ volatile("svc 0"
                   : "+r"(x0)
                   : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
                   : "memory");
  return x0;
#else
#error "the client is built for x86-64 and arm64"
#endif
}

#define CALL6(name, a, b, c, d, e, f) \
  kernel_call(SYS_##name, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
#define CALL4(name, a, b, c, d) CALL6(name, a, b, c, d, 0, 0)
#define CALL3(name, a, b, c) CALL6(name, a, b, c, 0, 0, 0)
#define CALL2(name, a, b) CALL6(name, a, b, 0, 0, 0, 0)
#define CALL1(name, a) CALL6(name, a, 0, 0, 0, 0, 0)
#define CALL0(name) CALL6(name, 0, 0, 0, 0, 0, 0)

/* What the kernel gave this process; `executable` is the path that execve was given, as the caller wrote it. */
struct process {
  char **arguments;
  char **environment;
  const char *executable;
};

__attribute__((unused)) static int run(const struct process *process);

#ifdef WEFT_HOSTED
#include <sys/auxv.h>

#ifndef WEFT_NO_MAIN
int main(int count, char **arguments, char **environment)
{
  (void)count;
  const struct process process = {arguments, environment, (const char *)getauxval(AT_EXECFN)};
  return run(&process);
}
#endif
#else

/* Compilers call some of these by themselves; the flags of the build keep them from making these call themselves. */

void *memcpy(void *to, const void *from, size_t size)
{
  for (size_t i = 0; i < size; i++) ((char *)to)[i] = ((const char *)from)[i];
  return to;
}

void *memset(void *to, int value, size_t size)
{
  for (size_t i = 0; i < size; i++) ((char *)to)[i] = (char)value;
  return to;
}

size_t strlen(const char *text)
{
  size_t length = 0;
  while (text[length] != 0) length++;
  return length;
}

int memcmp(const void *a, const void *b, size_t size)
{
  for (size_t i = 0; i < size; i++)
    if (((const unsigned char *)a)[i] != ((const unsigned char *)b)[i]) return 1;
  return 0;
}

/* elf.h and linux/auxvec.h */
#define AT_NULL 0
#define AT_EXECFN 31

/* The stack as execve leaves it: the number of arguments, they, NULL, the environment, NULL, pairs of type and value. */
__attribute__((noreturn, used)) static void start(long *stack)
{
  struct process process = {(char **)(stack + 1), (char **)(stack + 1) + stack[0] + 1, NULL};
  char **end = process.environment;
  while (*end != NULL) end++;
  for (const long *pair = (const long *)(end + 1); pair[0] != AT_NULL; pair += 2)
    if (pair[0] == AT_EXECFN) process.executable = (const char *)pair[1];
  const int code = run(&process);
  for (;;) CALL1(exit_group, code);
}

#if defined(__x86_64__)
__asm__(".globl _start\n_start:\n xor %ebp, %ebp\n mov %rsp, %rdi\n and $-16, %rsp\n call start\n hlt\n");
#else
__asm__(".globl _start\n_start:\n mov x29, #0\n mov x30, #0\n mov x0, sp\n b start\n");
#endif
#endif
