/* Loaded before libc: counts the calls that touch a watched folder and lets the n-th one fail.

   Whoever writes there (Python, torch, safetensors, polars) goes through these functions. What is
   to happen stands in a block of shared memory that a process and those it forks have in common,
   so that "the n-th call" is counted over all of them. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { OPEN_W, OPEN_R, WRITE, FSYNC, RENAME, LINK, UNLINK, MKDIR, CHMOD, READ, CLOSE, TRUNC, LOCK };
enum { COUNT, FAIL_ONCE, FAIL_ON, KILL, TEAR, SIGNAL, SLOW };

typedef struct {
  long mode, at, value, mask, count, hits, first_op, jump, per_op[16];
  char folder[PATH_MAX];
} Control;

static Control *control;
static pid_t armed_by; /* signals go to this process, kills to its whole group */

void torture_control(void *block) { control = block; }
void torture_arm(void) { armed_by = getpid(); }

#define REAL(type, name, ...)                                                                      \
  static type (*real)(__VA_ARGS__);                                                                \
  if (!real) real = (type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name)

static int below(const char *path) {
  size_t n = strlen(control->folder);
  return n && !strncmp(path, control->folder, n) && (path[n] == '/' || !path[n]);
}

static int fd_watched(int fd) {
  char link[32], path[PATH_MAX];
  if (!control || !control->folder[0]) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t n = readlink(link, path, sizeof path - 1);
  if (n <= 0) return 0;
  path[n] = 0;
  return below(path);
}

static int watched(int dir, const char *path) {
  char here[PATH_MAX];
  if (!control || !control->folder[0] || !path) return 0;
  if (path[0] == '/') return below(path);
  if (dir != AT_FDCWD) return fd_watched(dir);
  return getcwd(here, sizeof here) && below(here);
}

/* 0: go on; -1: fail, errno is set; 1: do half of it (of a write) */
static int fault(int op) {
  if (!((control->mask >> op) & 1)) return 0;
  long number = __atomic_add_fetch(&control->count, 1, __ATOMIC_SEQ_CST);
  __atomic_add_fetch(&control->per_op[op], 1, __ATOMIC_SEQ_CST);
  if (control->mode == COUNT) return 0;
  if (control->mode == SLOW) {
    struct timespec pause = {0, control->value * 1000};
    nanosleep(&pause, 0);
    return 0;
  }
  if (control->mode == FAIL_ON ? number < control->at : number != control->at) return 0;
  long hits = __atomic_add_fetch(&control->hits, 1, __ATOMIC_SEQ_CST);
  if (hits == 1) control->first_op = op;
  if (control->mode == TEAR && op == WRITE) return 1;
  if (control->mode == KILL || control->mode == TEAR) {
    kill(0, SIGKILL);
    for (;;) pause();
  }
  if (control->mode == SIGNAL) {
    kill(armed_by, (int)control->value);
    return 0;
  }
  if (op == WRITE && hits == 1 && (control->value == ENOSPC || control->value == EDQUOT)) return 1;
  errno = (int)control->value;
  return -1;
}

#define GUARD(op, condition)                                                                       \
  if ((condition) && fault(op) < 0) return -1

static void after_half(void) {
  if (control->mode == TEAR) {
    kill(0, SIGKILL);
    for (;;) pause();
  }
}

#define OPENING(name, at_fd, ...)                                                                  \
  mode_t mode = 0;                                                                                 \
  if (flags & (O_CREAT | __O_TMPFILE)) {                                                           \
    va_list more;                                                                                  \
    va_start(more, flags);                                                                         \
    mode = va_arg(more, mode_t);                                                                   \
    va_end(more);                                                                                  \
  }                                                                                                \
  GUARD((flags & (O_CREAT | O_WRONLY | O_RDWR)) ? OPEN_W : OPEN_R, watched(at_fd, path))

int open(const char *path, int flags, ...) {
  REAL(int, open, const char *, int, ...);
  OPENING(open, AT_FDCWD);
  return real(path, flags, mode);
}
int open64(const char *path, int flags, ...) {
  REAL(int, open64, const char *, int, ...);
  OPENING(open64, AT_FDCWD);
  return real(path, flags, mode);
}
int openat(int dir, const char *path, int flags, ...) {
  REAL(int, openat, int, const char *, int, ...);
  OPENING(openat, dir);
  return real(dir, path, flags, mode);
}
int openat64(int dir, const char *path, int flags, ...) {
  REAL(int, openat64, int, const char *, int, ...);
  OPENING(openat64, dir);
  return real(dir, path, flags, mode);
}

#define WRITING(fd, whole, half)                                                                   \
  if (fd_watched(fd)) {                                                                            \
    int what = fault(WRITE);                                                                       \
    if (what < 0) return -1;                                                                       \
    if (what > 0 && n > 1) {                                                                       \
      ssize_t wrote = half;                                                                        \
      after_half();                                                                                \
      return wrote;                                                                                \
    }                                                                                              \
    if (what > 0) {                                                                                \
      after_half();                                                                                \
      errno = (int)control->value;                                                                 \
      return -1;                                                                                   \
    }                                                                                              \
  }                                                                                                \
  return whole

ssize_t write(int fd, const void *from, size_t n) {
  REAL(ssize_t, write, int, const void *, size_t);
  WRITING(fd, real(fd, from, n), real(fd, from, n / 2));
}
ssize_t pwrite64(int fd, const void *from, size_t n, off_t at) {
  REAL(ssize_t, pwrite64, int, const void *, size_t, off_t);
  WRITING(fd, real(fd, from, n, at), real(fd, from, n / 2, at));
}
ssize_t writev(int fd, const struct iovec *parts, int n) {
  REAL(ssize_t, writev, int, const struct iovec *, int);
  WRITING(fd, real(fd, parts, n), real(fd, parts, n / 2));
}
ssize_t sendfile64(int fd, int from, off_t *at, size_t n) {
  REAL(ssize_t, sendfile64, int, int, off_t *, size_t);
  WRITING(fd, real(fd, from, at, n), real(fd, from, at, n));
}
ssize_t copy_file_range(int from, off64_t *i, int fd, off64_t *o, size_t n, unsigned flags) {
  REAL(ssize_t, copy_file_range, int, off64_t *, int, off64_t *, size_t, unsigned);
  WRITING(fd, real(from, i, fd, o, n, flags), real(from, i, fd, o, n, flags));
}
ssize_t read(int fd, void *into, size_t n) {
  REAL(ssize_t, read, int, void *, size_t);
  GUARD(READ, fd_watched(fd));
  return real(fd, into, n);
}
int fsync(int fd) {
  REAL(int, fsync, int);
  GUARD(FSYNC, fd_watched(fd));
  return real(fd);
}
int fdatasync(int fd) {
  REAL(int, fdatasync, int);
  GUARD(FSYNC, fd_watched(fd));
  return real(fd);
}
int close(int fd) {
  REAL(int, close, int);
  int ours = fd_watched(fd), done = real(fd); /* a file is closed also where that fails */
  GUARD(CLOSE, ours);
  return done;
}
int ftruncate64(int fd, off64_t length) {
  REAL(int, ftruncate64, int, off64_t);
  GUARD(TRUNC, fd_watched(fd));
  return real(fd, length);
}
int flock(int fd, int how) {
  REAL(int, flock, int, int);
  GUARD(LOCK, fd_watched(fd));
  return real(fd, how);
}
int rename(const char *a, const char *b) {
  REAL(int, rename, const char *, const char *);
  GUARD(RENAME, watched(AT_FDCWD, b));
  return real(a, b);
}
int renameat(int da, const char *a, int db, const char *b) {
  REAL(int, renameat, int, const char *, int, const char *);
  GUARD(RENAME, watched(db, b));
  return real(da, a, db, b);
}
int renameat2(int da, const char *a, int db, const char *b, unsigned flags) {
  REAL(int, renameat2, int, const char *, int, const char *, unsigned);
  GUARD(RENAME, watched(db, b));
  return real(da, a, db, b, flags);
}
int link(const char *a, const char *b) {
  REAL(int, link, const char *, const char *);
  GUARD(LINK, watched(AT_FDCWD, b));
  return real(a, b);
}
int linkat(int da, const char *a, int db, const char *b, int flags) {
  REAL(int, linkat, int, const char *, int, const char *, int);
  GUARD(LINK, watched(db, b));
  return real(da, a, db, b, flags);
}
int unlink(const char *path) {
  REAL(int, unlink, const char *);
  GUARD(UNLINK, watched(AT_FDCWD, path));
  return real(path);
}
int unlinkat(int dir, const char *path, int flags) {
  REAL(int, unlinkat, int, const char *, int);
  GUARD(UNLINK, watched(dir, path));
  return real(dir, path, flags);
}
int rmdir(const char *path) {
  REAL(int, rmdir, const char *);
  GUARD(UNLINK, watched(AT_FDCWD, path));
  return real(path);
}
int mkdir(const char *path, mode_t mode) {
  REAL(int, mkdir, const char *, mode_t);
  GUARD(MKDIR, watched(AT_FDCWD, path));
  return real(path, mode);
}
int mkdirat(int dir, const char *path, mode_t mode) {
  REAL(int, mkdirat, int, const char *, mode_t);
  GUARD(MKDIR, watched(dir, path));
  return real(dir, path, mode);
}
int chmod(const char *path, mode_t mode) {
  REAL(int, chmod, const char *, mode_t);
  GUARD(CHMOD, watched(AT_FDCWD, path));
  return real(path, mode);
}
int fchmod(int fd, mode_t mode) {
  REAL(int, fchmod, int, mode_t);
  GUARD(CHMOD, fd_watched(fd));
  return real(fd, mode);
}

/* The clock on the wall jumps back and forth; the monotonic one, by definition, cannot. */
static long jumped(void) {
  static unsigned long draw = 88172645463325252UL;
  if (!control || !control->jump) return 0;
  draw ^= draw << 13, draw ^= draw >> 7, draw ^= draw << 17;
  return (long)(draw % (2 * (unsigned long)control->jump)) - control->jump;
}
int clock_gettime(clockid_t clock, struct timespec *now) {
  REAL(int, clock_gettime, clockid_t, struct timespec *);
  int done = real(clock, now);
  if (!done && clock == CLOCK_REALTIME) now->tv_sec += jumped();
  return done;
}
int gettimeofday(struct timeval *now, void *zone) {
  REAL(int, gettimeofday, struct timeval *, void *);
  int done = real(now, zone);
  if (!done) now->tv_sec += jumped();
  return done;
}
time_t time(time_t *into) {
  REAL(time_t, time, time_t *);
  time_t now = real(0) + jumped();
  if (into) *into = now;
  return now;
}
