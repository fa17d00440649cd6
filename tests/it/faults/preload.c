/* What `faults.rs` puts between a process and the disk (LD_PRELOAD): it records what is written, truncated, synced and
 * removed in one folder, in order, and makes the n-th of these fail.
 *
 *   FAULTS_IN    the folder, as the kernel names it
 *   FAULTS_LOG   where to record, if anywhere
 *
 * Whoever writes to the file `control` in the folder commands it:
 *
 *   fail N ERRNO HOW   lets the N-th from now on fail: HOW is `once`, `torn` (once, after half of a write is done), or
 *                      `ever` (and all after it)
 *   off                lets none fail any more; what is written to `control` is how many there were since
 *
 * A record is: a letter (w, t, s, u), the length of the name (4 bytes), the name, an offset or a length (8), the number of
 * bytes (4), the bytes. Numbers are the machine's. What lies in memory that processes share (`-shm`) is no part of it. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long count, fail_at;
static int fail_errno, torn, ever;

static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off64_t);
static int (*real_ftruncate)(int, off64_t);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_unlink)(const char *);

__attribute__((constructor)) static void begin(void) {
    real_write = dlsym(RTLD_NEXT, "write");
    real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
    real_ftruncate = dlsym(RTLD_NEXT, "ftruncate64");
    real_fsync = dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    real_unlink = dlsym(RTLD_NEXT, "unlink");
}

/* The part of a path behind the folder, or nothing if it is elsewhere, or none of the database's bytes. */
static const char *within(const char *path) {
    const char *folder = getenv("FAULTS_IN");
    size_t length = folder ? strlen(folder) : 0;
    if (!length || strncmp(path, folder, length) || path[length] != '/') return NULL;
    const char *name = path + length + 1, *end = strrchr(name, '-');
    return end && (!strcmp(end, "-shm") || !strcmp(end, "-lock")) ? NULL : name;
}

static const char *name_of(int fd, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length < 0) return NULL;
    path[length] = 0;
    return within(path);
}

static void record(char letter, const char *name, uint64_t at, const void *bytes, uint32_t length) {
    static int log = -2;
    if (log == -2) {
        const char *path = getenv("FAULTS_LOG");
        log = path ? open(path, O_WRONLY | O_CREAT | O_APPEND, 0600) : -1;
    }
    if (log < 0) return;
    uint32_t named = strlen(name);
    char head[PATH_MAX + 32];
    size_t end = 0;
    head[end++] = letter;
    memcpy(head + end, &named, 4), end += 4;
    memcpy(head + end, name, named), end += named;
    memcpy(head + end, &at, 8), end += 8;
    memcpy(head + end, &length, 4), end += 4;
    if (real_write(log, head, end) != (ssize_t)end || real_write(log, bytes, length) != (ssize_t)length) abort();
}

/* Whether this one is to fail. */
static int fails(void) {
    count++;
    return fail_at && (count == fail_at || (ever && count > fail_at));
}

static void command(int fd, const char *text, size_t length) {
    char line[64] = {0}, how[16] = {0};
    memcpy(line, text, length < 63 ? length : 63);
    if (sscanf(line, "fail %ld %d %15s", &fail_at, &fail_errno, how) == 3) {
        torn = !strcmp(how, "torn");
        ever = !strcmp(how, "ever");
    } else {
        length = snprintf(line, sizeof line, "%ld\n", count);
        fail_at = 0;
        if (real_write(fd, line, length) < 0) abort();
    }
    count = 0;
}

static ssize_t put(int fd, const void *bytes, size_t length, off64_t at, int moves) {
    char path[PATH_MAX];
    const char *name = name_of(fd, path);
    if (!name) return moves ? real_write(fd, bytes, length) : real_pwrite(fd, bytes, length, at);
    pthread_mutex_lock(&lock);
    ssize_t done = length;
    if (!strcmp(name, "control")) {
        command(fd, bytes, length);
    } else {
        if (moves) at = lseek64(fd, 0, SEEK_CUR);
        int failed = strcmp(name, "acks") && fails();
        size_t part = failed ? (torn ? length / 2 : 0) : length;
        done = part ? (moves ? real_write(fd, bytes, part) : real_pwrite(fd, bytes, part, at)) : 0;
        if (done > 0) record('w', name, at, bytes, done);
        if (failed) errno = fail_errno, done = -1;
    }
    pthread_mutex_unlock(&lock);
    return done;
}

ssize_t write(int fd, const void *bytes, size_t length) { return put(fd, bytes, length, 0, 1); }
ssize_t pwrite(int fd, const void *bytes, size_t length, off_t at) { return put(fd, bytes, length, at, 0); }
ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t at) { return put(fd, bytes, length, at, 0); }

static int shorten(int fd, off64_t length) {
    char path[PATH_MAX];
    const char *name = name_of(fd, path);
    if (!name || !strcmp(name, "control")) return real_ftruncate(fd, length);
    pthread_mutex_lock(&lock);
    int done = fails() ? (errno = fail_errno, -1) : real_ftruncate(fd, length);
    if (!done) record('t', name, length, "", 0);
    pthread_mutex_unlock(&lock);
    return done;
}

int ftruncate(int fd, off_t length) { return shorten(fd, length); }
int ftruncate64(int fd, off64_t length) { return shorten(fd, length); }

static int settle(int fd, int (*real)(int)) {
    char path[PATH_MAX];
    const char *name = name_of(fd, path);
    if (!name) return real(fd);
    pthread_mutex_lock(&lock);
    int done = fails() ? (errno = fail_errno, -1) : 0;
    if (!done) record('s', name, 0, "", 0);
    pthread_mutex_unlock(&lock);
    return done;
}

/* Nothing here outlives the machine, so a sync is as good as done. */
int fsync(int fd) { return settle(fd, real_fsync); }
int fdatasync(int fd) { return settle(fd, real_fdatasync); }

int unlink(const char *path) {
    const char *name = within(path);
    if (!name) return real_unlink(path);
    pthread_mutex_lock(&lock);
    int done = fails() ? (errno = fail_errno, -1) : real_unlink(path);
    if (!done) record('u', name, 0, "", 0);
    pthread_mutex_unlock(&lock);
    return done;
}
