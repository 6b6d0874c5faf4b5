/* A plugin of QEMU's user-mode emulators: adds up the 64-bit Arm instructions executed, in a file, one number of eight
   bytes for each of `enum class`.

   Declared here rather than included: the header is in no Debian package, and these few signatures have been stable
   since the interface's first version. Instructions are told apart by the encodings of the Arm Architecture Reference
   Manual (DDI 0487), section C4.1. */

#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct qemu_plugin_tb;
struct qemu_plugin_insn;
typedef uint64_t qemu_plugin_id;

extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *block);
extern struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *block, size_t index);
extern void *qemu_plugin_insn_haddr(const struct qemu_plugin_insn *instruction);
extern void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id, void (*)(qemu_plugin_id, struct qemu_plugin_tb *));
extern void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *, void (*)(unsigned, void *), int, void *);

__attribute__((visibility("default"))) int qemu_plugin_version = 1;

/* In the order of `pfir.instructions.Instructions`, behind the number of all instructions. */
enum class { ALL, MULTIPLY, HALF, DOT, WIDENING, VECTOR, LOAD, LOAD_BYTES, STORE, STORE_BYTES, SCALAR, BRANCH, CLASSES };

struct counts {
    uint64_t of[CLASSES];
};

static struct counts *count;

static int matches(uint32_t code, uint32_t mask, uint32_t value) { return (code & mask) == value; }

static enum class vector(uint32_t code) {
    /* FMLA and FMLS: of vectors, by a lane. */
    if (matches(code, 0xBF20FC00, 0x0E20CC00) || matches(code, 0xBF80B400, 0x0F801000)) return MULTIPLY;
    if (matches(code, 0xBF60FC00, 0x0E400C00) || matches(code, 0xBFC0B400, 0x0F001000)) return HALF;
    /* SDOT, UDOT, USDOT; the same by a lane; SMMLA, UMMLA, USMMLA. */
    if (matches(code, 0x9F20F400, 0x0E009400) && (code >> 22 & 3) == 2) return DOT;
    if (matches(code, 0x9F00E400, 0x0F00E000) || matches(code, 0xDFE0F400, 0x4E80A400)) return DOT;
    /* Products of twice the width, and sums of neighbours. */
    uint32_t operation = code >> 12 & 15;
    if (matches(code, 0x9F200C00, 0x0E200000) && operation >= 8 && operation <= 13) return WIDENING;
    if (matches(code, 0x9F000400, 0x0F000000) && (operation == 2 || operation == 6 || operation == 10)) return WIDENING;
    if (matches(code, 0x9F3FBC00, 0x0E202800)) return WIDENING; /* SADDLP, SADALP and unsigned */
    if (matches(code, 0x9F20FC00, 0x0E209400)) return WIDENING; /* MLA, MLS of integers */
    return VECTOR;
}

/* Bytes that a load or store moves; 0 of what moves none, such as a hint to fetch. Sets whether it is a load. */
static unsigned moved(uint32_t code, int *is_load) {
    uint32_t size = code >> 30, is_vector = code >> 26 & 1, kind = code >> 23 & 7, group = code >> 27 & 7;
    *is_load = code >> 22 & 1;
    if (group == 5) return 2u * (is_vector ? 4u << size : size == 2 ? 8u : 4u); /* pairs */
    if (group == 3) { /* from beside the program */
        *is_load = 1;
        return is_vector ? 4u << size : size == 1 ? 8u : 4u;
    }
    if (group == 7) {
        uint32_t operation = code >> 22 & 3;
        *is_load = is_vector ? operation & 1 : operation != 0;
        if (!is_vector && size == 3 && operation == 2) return 0;
        return is_vector && operation & 2 ? 16u : 1u << size;
    }
    if (group == 1 && is_vector && !(kind & 2)) { /* several whole registers */
        static const unsigned char registers[16] = {4, 0, 4, 0, 3, 0, 3, 1, 2, 0, 2};
        return (code >> 30 & 1 ? 16u : 8u) * registers[code >> 12 & 15];
    }
    if (group == 1 && is_vector) { /* single elements, or one for all lanes */
        uint32_t operation = code >> 13 & 7, scale = operation >> 1 == 3 ? code >> 10 & 3 : operation >> 1;
        if (operation >> 1 == 2 && code >> 10 & 1) scale = 3;
        return (1u << scale) * ((operation & 1) * 2 + (code >> 21 & 1) + 1);
    }
    return 1u << size; /* exclusive */
}

static void add(struct counts *counts, uint32_t code) {
    uint32_t kind = code >> 25 & 15;
    counts->of[ALL]++;
    if ((kind & 7) == 7) {
        counts->of[vector(code)]++;
    } else if ((kind & 5) == 4) {
        int is_load;
        unsigned bytes = moved(code, &is_load);
        counts->of[bytes ? is_load ? LOAD : STORE : SCALAR]++;
        counts->of[is_load ? LOAD_BYTES : STORE_BYTES] += bytes;
    } else if ((kind & 14) == 10 && code >> 22 != 0xD503u >> 6) {
        counts->of[BRANCH]++;
    } else {
        counts->of[SCALAR]++;
    }
}

static void executed(unsigned processor, void *counts) {
    (void)processor;
    for (int i = 0; i < CLASSES; i++) {
        uint64_t of = ((struct counts *)counts)->of[i];
        if (of) __atomic_fetch_add(&count->of[i], of, __ATOMIC_RELAXED);
    }
}

static void translated(qemu_plugin_id id, struct qemu_plugin_tb *block) {
    (void)id;
    struct counts *counts = calloc(1, sizeof *counts); /* as long as its block may run: to the end */
    if (!counts) abort();
    for (size_t i = 0; i < qemu_plugin_tb_n_insns(block); i++) {
        uint32_t code;
        memcpy(&code, qemu_plugin_insn_haddr(qemu_plugin_tb_get_insn(block, i)), sizeof code);
        add(counts, code);
    }
    qemu_plugin_register_vcpu_tb_exec_cb(block, executed, 0, counts);
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
