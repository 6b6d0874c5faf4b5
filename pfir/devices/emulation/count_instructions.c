/* A plugin of QEMU's user-mode emulators: adds up the instructions executed, in the first eight bytes of a file.

   Declared here rather than included: the header is in no Debian package, and these few signatures have been stable
   since the interface's first version. */

#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct qemu_plugin_tb;
typedef uint64_t qemu_plugin_id;

extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *block);
extern void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id, void (*)(qemu_plugin_id, struct qemu_plugin_tb *));
extern void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *, void (*)(unsigned, void *), int, void *);

__attribute__((visibility("default"))) int qemu_plugin_version = 1;

static uint64_t *count;

static void executed(unsigned processor, void *instructions) {
    (void)processor;
    __atomic_fetch_add(count, (uint64_t)(uintptr_t)instructions, __ATOMIC_RELAXED);
}

static void translated(qemu_plugin_id id, struct qemu_plugin_tb *block) {
    (void)id;
    qemu_plugin_register_vcpu_tb_exec_cb(block, executed, 0, (void *)(uintptr_t)qemu_plugin_tb_n_insns(block));
}

__attribute__((visibility("default"))) int qemu_plugin_install(
    qemu_plugin_id id, const void *info, int arguments, char **values) {
    (void)info;
    if (arguments != 1 || strncmp(values[0], "into=", 5) != 0) return -1;
    int file = open(values[0] + 5, O_RDWR);
    if (file < 0) return -1;
    void *memory = mmap(NULL, sizeof *count, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (memory == MAP_FAILED) return -1;
    count = memory;
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    return 0;
}
