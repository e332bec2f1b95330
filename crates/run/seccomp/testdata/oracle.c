/*
 * What libseccomp makes of a filter. Reads lines:
 *
 *   default ACTION                     before everything else
 *   arch TOKEN                         a further architecture
 *   number TOKEN NAME                  answers "number TOKEN NAME N" on stderr
 *   rule ACTION NAME [ARG OP A B]...   a rule; "refused NAME N" on stderr
 *
 * At the end of input the program goes to standard output. The library is
 * opened by name, so that neither its headers nor pkg-config are needed.
 */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct comparison {
	unsigned int arg;
	int op;
	uint64_t a;
	uint64_t b;
};

int main(void)
{
	void *lib = dlopen("libseccomp.so.2", RTLD_NOW);
	if (!lib)
		return 77;
	void *(*init)(uint32_t) = dlsym(lib, "seccomp_init");
	int (*arch_add)(void *, uint32_t) = dlsym(lib, "seccomp_arch_add");
	int (*resolve)(const char *) = dlsym(lib, "seccomp_syscall_resolve_name");
	int (*resolve_arch)(uint32_t, const char *) =
		dlsym(lib, "seccomp_syscall_resolve_name_arch");
	int (*rule_add)(void *, uint32_t, int, unsigned int, const struct comparison *) =
		dlsym(lib, "seccomp_rule_add_array");
	int (*export_bpf)(void *, int) = dlsym(lib, "seccomp_export_bpf");
	void *filter = NULL;
	char line[4096], name[256];
	uint32_t value;
	int used;

	if (!init || !arch_add || !resolve || !resolve_arch || !rule_add || !export_bpf)
		return 77;
	while (fgets(line, sizeof line, stdin)) {
		if (sscanf(line, "default %u", &value) == 1) {
			filter = init(value);
		} else if (sscanf(line, "arch %u", &value) == 1) {
			if (arch_add(filter, value))
				return 1;
		} else if (sscanf(line, "number %u %255s", &value, name) == 2) {
			fprintf(stderr, "number %u %s %d\n", value, name, resolve_arch(value, name));
		} else if (sscanf(line, "rule %u %255s%n", &value, name, &used) == 2) {
			struct comparison c[6];
			unsigned int n = 0;
			unsigned long long a, b;
			char *rest = line + used;
			int rc;
			while (n < 6 && sscanf(rest, " %u %d %llu %llu%n", &c[n].arg, &c[n].op, &a,
					       &b, &used) == 4) {
				c[n].a = a;
				c[n].b = b;
				rest += used;
				n++;
			}
			rc = rule_add(filter, value, resolve(name), n, c);
			if (rc)
				fprintf(stderr, "refused %s %d\n", name, rc);
		}
	}
	return filter && export_bpf(filter, 1) ? 1 : 0;
}
