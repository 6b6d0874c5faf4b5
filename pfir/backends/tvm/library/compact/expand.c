/* Expands constants of a library into the memory that TVM's runtime reads them from, when the library is loaded.
 *
 * Memory may begin anywhere. Every function writes the same bytes on every processor: whole numbers, or float64 that
 * is rounded once. What reads codes and values reads up to eight bytes beyond their end.
 */

#include <stdint.h>
#include <string.h>

#define ANYWHERE __attribute__((aligned(1), may_alias))

typedef uint8_t value8;
typedef ANYWHERE uint16_t value16;
typedef ANYWHERE uint32_t value32;
typedef ANYWHERE uint64_t word;
typedef ANYWHERE float single;
typedef ANYWHERE int16_t whole;
typedef int8_t byte;

/* to[i] = book[code i], codes of so many bits (at most eight), the first one in the lowest bits. */
#define TAKE(value)                                                                                       \
    static void take_##value(void *to, const uint8_t *codes, const void *from, unsigned bits, size_t n) { \
        value *out = to;                                                                                  \
        const value *book = from;                                                                         \
        const uint64_t mask = (1u << bits) - 1;                                                           \
        for (; n >= 8; n -= 8, out += 8, codes += bits) {                                                 \
            uint64_t eight = *(const word *)codes;                                                        \
            for (unsigned k = 0; k < 8; k++, eight >>= bits) out[k] = book[eight & mask];                 \
        }                                                                                                 \
        uint64_t rest = *(const word *)codes;                                                             \
        for (; n; n--, rest >>= bits) *out++ = book[rest & mask];                                         \
    }

TAKE(value8)
TAKE(value16)
TAKE(value32)

/* The next of the values wherever a bit is set, the first one in the lowest bit; zeros elsewhere. */
#define SPREAD(value)                                                                       \
    static void spread_##value(void *to, const uint8_t *set, const void *values, size_t n) { \
        value *out = to;                                                                    \
        const value *next = values;                                                         \
        memset(to, 0, n * sizeof(value));                                                   \
        for (size_t at = 0; at < n; at += 8)                                                \
            for (unsigned bits = *set++; bits; bits &= bits - 1)                            \
                out[at + (unsigned)__builtin_ctz(bits)] = *next++;                          \
    }

SPREAD(value8)
SPREAD(value16)
SPREAD(value32)

/* The points of a kernel of 3 along an axis, as the rows of pfir/backends/tvm/kernels/winograd/transforms.py say. */
#define ALONG(number)                                                                                    \
    static inline void along_2_##number(number a, number b, number c, number last, number *points) {      \
        points[0] = 2 * a, points[1] = a + b + c, points[2] = a - b + c, points[3] = last * c;           \
    }                                                                                                    \
    static inline void along_4_##number(number a, number b, number c, number last, number *points) {      \
        points[0] = 6 * a, points[1] = -4 * a - 4 * b - 4 * c, points[2] = -4 * a + 4 * b - 4 * c;       \
        points[3] = a + 2 * b + 4 * c, points[4] = a - 2 * b + 4 * c, points[5] = last * c;              \
    }

ALONG(double)
ALONG(int32_t)

/* Of each block [9, n] of kernels of 3x3 the points [(m + 2)^2, n]. */
#define POINTS(name, given, number, made, m, last, rounded)                                                 \
    static void name(void *to, const void *from, size_t blocks, size_t n) {                                 \
        made *restrict out = to;                                                                            \
        const given *restrict in = from;                                                                    \
        for (; blocks; blocks--, in += 9 * n, out += (m + 2) * (m + 2) * n)                                 \
            for (size_t at = 0; at < n; at++) {                                                             \
                number columns[3][m + 2], points[m + 2];                                                    \
                for (int x = 0; x < 3; x++)                                                                 \
                    along_##m##_##number(in[x * n + at], in[(3 + x) * n + at], in[(6 + x) * n + at], last, columns[x]); \
                for (int i = 0; i < m + 2; i++) {                                                           \
                    along_##m##_##number(columns[0][i], columns[1][i], columns[2][i], last, points);        \
                    for (int j = 0; j < m + 2; j++) out[(i * (m + 2) + j) * n + at] = rounded(points[j]);   \
                }                                                                                           \
            }                                                                                               \
    }

#define FLOAT_2(x) ((float)((x) * (1.0 / 4)))
#define FLOAT_4(x) ((float)((x) * (1.0 / 576)))
#define WHOLE(x) ((int16_t)(x))

POINTS(points_2_float32, single, double, single, 2, 2, FLOAT_2)
POINTS(points_4_float32, single, double, single, 4, 24, FLOAT_4)
POINTS(points_2_int16, byte, int32_t, whole, 2, 2, WHOLE)
POINTS(points_4_int16, byte, int32_t, whole, 4, 6, WHOLE)

#ifdef __FLT16_MAX__
typedef ANYWHERE _Float16 half;

#define HALF_2(x) ((_Float16)FLOAT_2(x))
#define HALF_4(x) ((_Float16)FLOAT_4(x))

POINTS(points_2_float16, single, double, half, 2, 2, HALF_2)
POINTS(points_4_float16, single, double, half, 4, 24, HALF_4)
#endif
