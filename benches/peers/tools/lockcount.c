/* Counts the instructions that a program's first thread executes in user space, and those that lock
   a cache line (a lock prefix, or xchg with memory), by single-stepping it from the first SIGUSR1
   that it sends itself to the second. Valgrind counts only the former, and not inside the vDSO.
   Linux on x86-64.
   cc -O2 -o lockcount lockcount.c; ./lockcount PROGRAM ARGS...   prints: instructions locked */
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/personality.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

static int is_legacy_prefix(unsigned char c) {
  return c == 0x66 || c == 0xf2 || c == 0xf3 || c == 0x2e || c == 0x3e || c == 0x64 || c == 0x65;
}

static int locks(const unsigned char *b) {
  int i = 0, lock = 0;
  for (; i < 5 && (is_legacy_prefix(b[i]) || b[i] == 0xf0); i++)
    lock |= b[i] == 0xf0;
  if ((b[i] & 0xf0) == 0x40) /* REX */
    i++;
  /* xchg with a memory operand locks without the prefix */
  return lock || ((b[i] == 0x86 || b[i] == 0x87) && (b[i + 1] >> 6) != 3);
}

int main(int argc, char **argv) {
  long instructions = 0, locked = 0;
  int status;
  if (argc < 2)
    return 2;
  /* on one core they hand over to each other without waking another one */
  cpu_set_t core;
  CPU_ZERO(&core);
  CPU_SET(getpid() % sysconf(_SC_NPROCESSORS_ONLN), &core);
  sched_setaffinity(0, sizeof core, &core);
  pid_t child = fork();
  if (!child) {
    personality(ADDR_NO_RANDOMIZE);
    ptrace(PTRACE_TRACEME, 0, 0, 0);
    execv(argv[1], argv + 1);
    _exit(127);
  }
  int marks = 0;
  waitpid(child, &status, 0);
  while (!WIFEXITED(status) && !WIFSIGNALED(status)) {
    struct user_regs_struct regs;
    long signal = WSTOPSIG(status);
    if (signal == SIGUSR1) {
      marks++;
      signal = 0;
    } else if (signal == SIGTRAP) {
      signal = 0;
    } /* another signal of the program's own must reach it, or it runs into the same fault for ever */
    if (marks == 1) {
      if (ptrace(PTRACE_GETREGS, child, 0, &regs))
        break;
      long word = ptrace(PTRACE_PEEKTEXT, child, (void *)regs.rip, 0);
      locked += locks((const unsigned char *)&word);
      instructions++;
    }
    if (ptrace(marks == 1 ? PTRACE_SINGLESTEP : PTRACE_CONT, child, 0, (void *)signal))
      break;
    waitpid(child, &status, 0);
  }
  if (marks != 2)
    return 1;
  printf("%ld %ld\n", instructions, locked);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
