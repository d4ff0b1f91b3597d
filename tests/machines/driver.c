/* Calls functions on data from a file and writes what they did to another: `driver IN OUT ROOM`.
 *
 * Numbers are uint64_t. IN: the number of jobs; for each the number of its function in FUNCTIONS, the number of its words,
 * and for each word its kind, a number (its value, or how many bytes the buffer has), and for READ and WRITE the bytes.
 * OUT: for each job 0 and the bytes of its WRITE buffers; or the signal that ended it, or OUTSIDE, and nothing else.
 *
 * Every buffer ends ROOM bytes before memory ends, so its address has any alignment, and with 0 a byte too far is a fault.
 * Memory of READ buffers is read-only. What lies before and behind a buffer must stay as it was.
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Made for each program: the functions that it has. */
extern void (*const FUNCTIONS[])(const uint64_t *words);

enum { NUMBER, READ, WRITE, SCRATCH };
enum { OUTSIDE = 1000, FILLER = 0xa5, WORDS = 256, SECONDS = 60 };

struct buffer {
    uint64_t kind, size;
    unsigned char *memory, *start;
    size_t mapped;
};

static sigjmp_buf ended;
static size_t room;

static void on_signal(int signal) { siglongjmp(ended, signal); }

static void fail(const char *what) {
    fprintf(stderr, "driver: %s\n", what);
    exit(2);
}

static uint64_t number(FILE *in) {
    uint64_t value;
    if (fread(&value, sizeof value, 1, in) != 1) fail("the file of jobs ends early");
    return value;
}

static void make(struct buffer *b, FILE *in) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    b->mapped = (b->size + room + page - 1) / page * page + page;
    b->memory = mmap(NULL, b->mapped + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (b->memory == MAP_FAILED) fail("no memory");
    if (mprotect(b->memory + b->mapped, page, PROT_NONE) != 0) fail("no guard");
    b->start = b->memory + b->mapped - room - b->size;
    memset(b->memory, FILLER, b->mapped);
    if (b->kind != SCRATCH && b->size != 0 && fread(b->start, b->size, 1, in) != 1) fail("a buffer ends early");
    if (b->kind == READ && mprotect(b->memory, b->mapped, PROT_READ) != 0) fail("not made read-only");
}

static int outside(const struct buffer *b) {
    for (const unsigned char *at = b->memory; at < b->start; at++)
        if (*at != FILLER) return 1;
    for (const unsigned char *at = b->start + b->size; at < b->memory + b->mapped; at++)
        if (*at != FILLER) return 1;
    return 0;
}

static void job(FILE *in, FILE *out) {
    uint64_t words[WORDS];
    struct buffer buffers[WORDS];
    uint64_t function = number(in), count = number(in);
    if (count > WORDS) fail("too many words");
    for (uint64_t at = 0; at < count; at++) {
        struct buffer *b = &buffers[at];
        b->kind = number(in);
        b->size = words[at] = number(in);
        if (b->kind == NUMBER) continue;
        make(b, in);
        words[at] = (uint64_t)(uintptr_t)b->start;
    }
    uint64_t status = (uint64_t)sigsetjmp(ended, 1);
    if (status == 0) {
        alarm(SECONDS);
        FUNCTIONS[function](words);
    }
    alarm(0);
    for (uint64_t at = 0; at < count; at++)
        if (status == 0 && buffers[at].kind != NUMBER && outside(&buffers[at])) status = OUTSIDE;
    fwrite(&status, sizeof status, 1, out);
    for (uint64_t at = 0; at < count; at++) {
        struct buffer *b = &buffers[at];
        if (b->kind == NUMBER) continue;
        if (b->kind == WRITE && status == 0 && b->size != 0) fwrite(b->start, b->size, 1, out);
        munmap(b->memory, b->mapped + (size_t)sysconf(_SC_PAGESIZE));
    }
}

int main(int argc, char **argv) {
    static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGALRM};
    for (size_t at = 0; at < sizeof signals / sizeof *signals; at++) signal(signals[at], on_signal);
    FILE *in = argc == 4 ? fopen(argv[1], "rb") : NULL, *out = argc == 4 ? fopen(argv[2], "wb") : NULL;
    if (in == NULL || out == NULL) fail("cannot open the files: driver IN OUT ROOM");
    room = strtoul(argv[3], NULL, 10);
    for (uint64_t jobs = number(in); jobs > 0; jobs--) job(in, out);
    if (fclose(out) != 0) fail("cannot write");
    return 0;
}
