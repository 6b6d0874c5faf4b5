/* Calls kernels of a 32-bit ARM object file: for each, operands are read from stdin and the result goes to stdout.
   TVM has no runtime for armv7; what its kernels need of one stands here. */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct { int32_t type, padding; union { void *pointer; int64_t number; } value; } Any;
typedef struct {
  void *data;
  struct { int32_t type, id; } device;
  int32_t ndim;
  struct { uint8_t code, bits; uint16_t lanes; } dtype;
  int64_t *shape, *strides;
  uint64_t byte_offset;
} Tensor;
typedef int Kernel(void *self, const Any *arguments, int32_t count, Any *result);
typedef struct { Kernel *call; int operands; int ndim[8]; int64_t shape[8][6]; } Case;

enum { TENSOR = 7, CPU = 1, FLOAT = 2 };

void TVMFFIErrorSetRaisedFromCStrParts(const char *kind, const char **parts, int32_t count) {
  fprintf(stderr, "%s: ", kind);
  for (int i = 0; i < count; i++) fprintf(stderr, "%s", parts[i]);
  fprintf(stderr, "\n");
}
static void *allocate(int type, int id, uint64_t size, int code, int bits) {
  void *found;
  return posix_memalign(&found, 64, size) ? NULL : found;
}
static int release(int type, int id, void *pointer) { free(pointer); return 0; }

#define DECLARE extern Kernel
#include "cases.h"

extern void *(*__TVMBackendAllocWorkspace)(int, int, uint64_t, int, int);
extern int (*__TVMBackendFreeWorkspace)(int, int, void *);

static int64_t floats(const Case *c, int i) {
  int64_t size = 1;
  for (int axis = 0; axis < c->ndim[i]; axis++) size *= c->shape[i][axis];
  return size;
}

static int run(Case *c) {
  Tensor tensors[8];
  Any arguments[8], result;
  memset(&result, 0, sizeof result);
  for (int i = 0; i < c->operands; i++) {
    size_t size = floats(c, i);
    Tensor made = {allocate(0, 0, size * 4, 0, 0), {CPU, 0}, c->ndim[i], {FLOAT, 32, 1}, c->shape[i], NULL, 0};
    tensors[i] = made;
    memset(&arguments[i], 0, sizeof arguments[i]);
    arguments[i].type = TENSOR;
    arguments[i].value.pointer = &tensors[i];
    if (i + 1 < c->operands && fread(made.data, 4, size, stdin) != size) return 2;
  }
  int failed = c->call(NULL, arguments, c->operands, &result);
  if (!failed) fwrite(tensors[c->operands - 1].data, 4, floats(c, c->operands - 1), stdout);
  for (int i = 0; i < c->operands; i++) free(tensors[i].data);
  return failed;
}

int main(void) {
  __TVMBackendAllocWorkspace = allocate;
  __TVMBackendFreeWorkspace = release;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    if (run(&cases[i])) return 1;
  return 0;
}
