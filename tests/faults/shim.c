/* Intercepts a program's system calls on the files of one folder, by LD_PRELOAD, so that tests use the real SQLite and
 * the real calls. It either records the changes of the files, in one total order, or lets calls fail.
 *
 *   FAULTS_FOLDER  the folder; calls on other files pass through
 *   FAULTS_TRACE   the file for the record: op, length of the name, name, offset (8 bytes), length (4 bytes), bytes
 *   FAULTS_FAIL    kind:number:errno:once or kind:number:errno:on, such as write:17:5:once
 *   FAULTS_FULL    a file; while it exists, no file of the folder grows and none is created
 *
 * The program writes its acknowledgements to the file `acknowledged`, which never fails. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MOST_FILES 1024
#define REAL(name, type, ...) ((type (*)(__VA_ARGS__))dlsym(RTLD_NEXT, name))

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char names[MOST_FILES][128]; /* names of open files; "" is a file outside the folder, "." the folder itself */
static const char *folder, *full;
static int trace = -1;
static char fail_kind[16];
static long fail_number;
static int fail_errno, fail_on, broken;
static long counts[3];

__attribute__((constructor)) static void begin(void) {
    folder = getenv("FAULTS_FOLDER");
    full = getenv("FAULTS_FULL");
    const char *path = getenv("FAULTS_TRACE"), *fail = getenv("FAULTS_FAIL");
    if (path)
        trace = REAL("open", int, const char *, int, ...)(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    char how[8] = "";
    if (fail && sscanf(fail, "%15[^:]:%ld:%d:%7s", fail_kind, &fail_number, &fail_errno, how) == 4)
        fail_on = strcmp(how, "on") == 0;
}

/* The name of a path in the folder; NULL for other paths. */
static const char *inside(const char *path) {
    size_t length = folder ? strlen(folder) : 0;
    if (!length || !path || strncmp(path, folder, length))
        return NULL;
    if (!path[length])
        return ".";
    return path[length] == '/' ? path + length + 1 : NULL;
}

static const char *name_of(int fd) { return fd >= 0 && fd < MOST_FILES && names[fd][0] ? names[fd] : NULL; }

static int is_promise(const char *name) { return !strcmp(name, "acknowledged"); }

static void record(char op, const char *name, uint64_t offset, const void *bytes, uint32_t length) {
    if (trace < 0)
        return;
    uint8_t named = strlen(name);
    ssize_t (*put)(int, const void *, size_t) = REAL("write", ssize_t, int, const void *, size_t);
    char head[2 + 128 + 12];
    head[0] = op;
    head[1] = named;
    memcpy(head + 2, name, named);
    memcpy(head + 2 + named, &offset, 8);
    memcpy(head + 2 + named + 8, &length, 4);
    if (put(trace, head, 2 + named + 12) < 0 || (length && put(trace, bytes, length) < 0))
        abort();
}

/* Whether this call, of kind 0 write, 1 sync or 2 truncate, must fail. */
static int fails(int kind, const char *name) {
    static const char *kinds[] = {"write", "sync", "truncate"};
    if (is_promise(name) || strcmp(fail_kind, kinds[kind]))
        return 0;
    long number = ++counts[kind];
    if (number == fail_number || broken || (fail_on && number > fail_number)) {
        broken = 0;
        errno = fail_errno;
        return 1;
    }
    return 0;
}

static int is_full(void) { return full && !access(full, F_OK); }

static ssize_t written(int fd, const void *bytes, size_t length, int64_t offset, int positioned) {
    const char *name = name_of(fd);
    ssize_t (*put)(int, const void *, size_t) = REAL("write", ssize_t, int, const void *, size_t);
    ssize_t (*put_at)(int, const void *, size_t, off_t) = REAL("pwrite", ssize_t, int, const void *, size_t, off_t);
    if (!name)
        return positioned ? put_at(fd, bytes, length, offset) : put(fd, bytes, length);
    pthread_mutex_lock(&lock);
    struct stat now;
    fstat(fd, &now);
    if (!positioned)
        offset = fcntl(fd, F_GETFL) & O_APPEND ? now.st_size : lseek(fd, 0, SEEK_CUR);
    ssize_t done = -1;
    if (!is_promise(name) && is_full() && offset + (int64_t)length > now.st_size) {
        errno = ENOSPC;
    } else if (fails(0, name)) {
        /* A disk that fills up writes the first half, and then nothing. */
        if (fail_errno == ENOSPC && length > 1 && counts[0] == fail_number) {
            length /= 2;
            broken = 1;
            done = positioned ? put_at(fd, bytes, length, offset) : put(fd, bytes, length);
        }
    } else {
        done = positioned ? put_at(fd, bytes, length, offset) : put(fd, bytes, length);
    }
    if (done > 0)
        record(is_promise(name) ? 'a' : 'w', name, offset, bytes, done);
    int kept = errno;
    pthread_mutex_unlock(&lock);
    errno = kept;
    return done;
}

ssize_t write(int fd, const void *bytes, size_t length) { return written(fd, bytes, length, 0, 0); }
ssize_t pwrite(int fd, const void *bytes, size_t length, off_t at) { return written(fd, bytes, length, at, 1); }
ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t at) { return written(fd, bytes, length, at, 1); }

static int synced(int fd, const char *call) {
    const char *name = name_of(fd);
    if (!name)
        return REAL(call, int, int)(fd);
    pthread_mutex_lock(&lock);
    int done = fails(1, name) ? -1 : REAL(call, int, int)(fd);
    if (!done)
        record('s', name, 0, NULL, 0);
    int kept = errno;
    pthread_mutex_unlock(&lock);
    errno = kept;
    return done;
}

int fsync(int fd) { return synced(fd, "fsync"); }
int fdatasync(int fd) { return synced(fd, "fdatasync"); }

static int truncated(int fd, off64_t length) {
    const char *name = name_of(fd);
    int (*real)(int, off64_t) = REAL("ftruncate64", int, int, off64_t);
    if (!name)
        return real(fd, length);
    pthread_mutex_lock(&lock);
    int done = fails(2, name) ? -1 : real(fd, length);
    if (!done)
        record('t', name, length, NULL, 0);
    int kept = errno;
    pthread_mutex_unlock(&lock);
    errno = kept;
    return done;
}

int ftruncate(int fd, off_t length) { return truncated(fd, length); }
int ftruncate64(int fd, off64_t length) { return truncated(fd, length); }

static int opened(int at, const char *path, int flags, mode_t mode) {
    int (*real)(int, const char *, int, ...) = REAL("openat", int, int, const char *, int, ...);
    const char *name = inside(path);
    if (!name)
        return real(at, path, flags, mode);
    pthread_mutex_lock(&lock);
    int is_new = (flags & O_CREAT) && access(path, F_OK);
    int fd = -1;
    if (is_new && is_full())
        errno = ENOSPC;
    else
        fd = real(at, path, flags, mode);
    if (fd >= MOST_FILES)
        abort();
    if (fd >= 0) {
        snprintf(names[fd], sizeof names[fd], "%s", name);
        if (is_new)
            record('c', name, 0, NULL, 0);
        else if (flags & O_TRUNC)
            record('t', name, 0, NULL, 0);
    }
    int kept = errno;
    pthread_mutex_unlock(&lock);
    errno = kept;
    return fd;
}

static mode_t mode_of(int flags, va_list rest) { return flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0; }

#define OPEN(name)                                                                                                     \
    int name(const char *path, int flags, ...) {                                                                       \
        va_list rest;                                                                                                  \
        va_start(rest, flags);                                                                                         \
        mode_t mode = mode_of(flags, rest);                                                                            \
        va_end(rest);                                                                                                  \
        return opened(AT_FDCWD, path, flags, mode);                                                                    \
    }
#define OPENAT(name)                                                                                                   \
    int name(int at, const char *path, int flags, ...) {                                                               \
        va_list rest;                                                                                                  \
        va_start(rest, flags);                                                                                         \
        mode_t mode = mode_of(flags, rest);                                                                            \
        va_end(rest);                                                                                                  \
        return opened(at, path, flags, mode);                                                                          \
    }
OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

int close(int fd) {
    pthread_mutex_lock(&lock);
    if (fd >= 0 && fd < MOST_FILES)
        names[fd][0] = 0;
    int done = REAL("close", int, int)(fd);
    int kept = errno;
    pthread_mutex_unlock(&lock);
    errno = kept;
    return done;
}

int unlink(const char *path) {
    const char *name = inside(path);
    if (!name)
        return REAL("unlink", int, const char *)(path);
    pthread_mutex_lock(&lock);
    int done = REAL("unlink", int, const char *)(path);
    if (!done)
        record('u', name, 0, NULL, 0);
    int kept = errno;
    pthread_mutex_unlock(&lock);
    errno = kept;
    return done;
}

int rename(const char *from, const char *to) {
    const char *name = inside(from), *other = inside(to);
    if (!name || !other)
        return REAL("rename", int, const char *, const char *)(from, to);
    pthread_mutex_lock(&lock);
    int done = REAL("rename", int, const char *, const char *)(from, to);
    if (!done)
        record('r', name, 0, other, strlen(other));
    int kept = errno;
    pthread_mutex_unlock(&lock);
    errno = kept;
    return done;
}
