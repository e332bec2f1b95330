/*
 * Loads the program on standard input and says what the kernel then answers:
 * one line "NAME RESULT" a call, RESULT being 0 or the errno.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

struct program {
	unsigned short length;
	void *instructions;
};

static sigjmp_buf no_such_abi;

static void on_fault(int signal)
{
	(void)signal;
	siglongjmp(no_such_abi, 1);
}

static void probe(const char *name, long number, long a, long b, long c, long d, long e)
{
	long result = syscall(number, a, b, c, d, e);
	printf("%s %d\n", name, result < 0 ? errno : 0);
}

#ifdef __x86_64__
static void probe_i386(const char *name, long number, long a, long b)
{
	long result;
	__asm__ volatile("int $0x80"
			 : "=a"(result)
			 : "a"(number), "b"(a), "c"(b), "d"(0L)
			 : "memory", "r8", "r9", "r10", "r11");
	printf("%s %ld\n", name, (int)result < 0 ? -(long)(int)result : 0);
}
#endif

int main(int argc, char **argv)
{
	static unsigned char bytes[4096 * 8];
	size_t size = fread(bytes, 1, sizeof bytes, stdin);
	struct program program = { size / 8, bytes };
	unsigned long flags = argc > 1 ? strtoul(argv[1], NULL, 10) : 0;
	struct timespec start, end;
	int i;

	/* Root may load a filter without it. */
	if (geteuid())
		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	signal(SIGSEGV, on_fault);
	clock_gettime(CLOCK_MONOTONIC, &start);
	if (syscall(SYS_seccomp, 1, flags, &program)) {
		perror("seccomp");
		return 1;
	}
	clock_gettime(CLOCK_MONOTONIC, &end);
	fprintf(stderr, "load %ld us\n",
		(end.tv_sec - start.tv_sec) * 1000000 + (end.tv_nsec - start.tv_nsec) / 1000);

	probe("getpid", SYS_getpid, 0, 0, 0, 0, 0);
	probe("af_unix", SYS_socket, 1, 1, 0, 0, 0);
	probe("af_inet", SYS_socket, 2, 1, 0, 0, 0);
	probe("af_alg", SYS_socket, 38, 5, 0, 0, 0);
	probe("af_alg_wide", SYS_socket, (1L << 32) + 38, 5, 0, 0, 0);
	probe("af_vsock", SYS_socket, 40, 1, 0, 0, 0);
	probe("io_uring_setup", 425, 1, 0, 0, 0, 0);
	probe("io_uring_enter", 426, -1, 0, 0, 0, 0);
	probe("io_uring_register", 427, -1, 0, 0, 0, 0);
	probe("keyctl", SYS_keyctl, 0, 0, 0, 0, 0);
	probe("add_key", SYS_add_key, 0, 0, 0, 0, 0);
	probe("userfaultfd", SYS_userfaultfd, 0, 0, 0, 0, 0);
	probe("bpf", SYS_bpf, -1, 0, 0, 0, 0);
	probe("mount", SYS_mount, 0, 0, 0, 0, 0);
	probe("unshare", SYS_unshare, 0, 0, 0, 0, 0);
	probe("setns", SYS_setns, -1, 0, 0, 0, 0);
	probe("clone3", SYS_clone3, 0, 0, 0, 0, 0);
	probe("clone_newuser", SYS_clone, 0x10000000, 0, 0, 0, 0);
	probe("personality_query", SYS_personality, 0xffffffffL, 0, 0, 0, 0);
	probe("personality_no_randomize", SYS_personality, 0x40000, 0, 0, 0, 0);
	probe("newest", 9999, 0, 0, 0, 0, 0);
#ifdef __x86_64__
	probe("x32_keyctl", 0x40000000 | 250, 0, 0, 0, 0, 0);
	if (sigsetjmp(no_such_abi, 1) == 0) {
		probe_i386("i386_getpid", 20, 0, 0);
		probe_i386("i386_keyctl", 288, 0, 0);
		probe_i386("i386_af_alg", 359, 38, 5);
		probe_i386("i386_clone3", 435, 0, 0);
	} else {
		printf("i386 none\n");
	}
#endif
	fflush(stdout);

	clock_gettime(CLOCK_MONOTONIC, &start);
	for (i = 0; i < 1000000; i++)
		syscall(SYS_getppid);
	clock_gettime(CLOCK_MONOTONIC, &end);
	fprintf(stderr, "getppid %ld ns\n",
		((end.tv_sec - start.tv_sec) * 1000000000 + (end.tv_nsec - start.tv_nsec)) / 1000000);
	clock_gettime(CLOCK_MONOTONIC, &start);
	for (i = 0; i < 1000000; i++)
		syscall(SYS_personality, 0xffffffffL);
	clock_gettime(CLOCK_MONOTONIC, &end);
	fprintf(stderr, "personality %ld ns\n",
		((end.tv_sec - start.tv_sec) * 1000000000 + (end.tv_nsec - start.tv_nsec)) / 1000000);
	return 0;
}
