/* Preloaded into every process of a test: the n-th call that needs room below a folder fails, as on a full disk.
 *
 * The control block is a file that all processes map; its path is compiled in, because children get few variables.
 * Counted are calls that create a file or folder, write, extend, sync or rename. SQLite's are among them.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

struct control {
    long count;       /* of calls so far */
    long fails_at;    /* number of the first call that fails; 0: none, and calls are traced */
    long until;       /* number of the last call that fails */
    long error;       /* its errno */
    char below[1024]; /* path of the folder */
    char hit[1024];   /* the first call that failed, and its path */
};

static struct control *control;
static int trace = -1; /* every call is a line of it */

__attribute__((constructor)) static void begin(void) {
    int handle = open(CONTROL, O_RDWR | O_CLOEXEC);
    if (handle < 0) return;
    void *found = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, handle, 0);
    close(handle);
    if (found != MAP_FAILED) control = found;
    trace = open(CONTROL ".trace", O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
}

static int fails(const char *call, const char *path) {
    if (!control || !control->below[0] || !path) return 0;
    size_t length = strlen(control->below);
    if (strncmp(path, control->below, length) || (path[length] != '/' && path[length])) return 0;
    long number = __sync_add_and_fetch(&control->count, 1);
    if (!control->fails_at) dprintf(trace, "%ld %s %s\n", number, call, path);
    if (!control->fails_at || number < control->fails_at || number > control->until) return 0;
    if (number == control->fails_at) snprintf(control->hit, sizeof control->hit, "%s %s", call, path);
    errno = (int)control->error;
    return 1;
}

static int fails_open(const char *call, int handle) {
    char link[64], path[1024];
    if (!control || !control->below[0]) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", handle);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (size < 0) return 0;
    path[size] = 0;
    return fails(call, path);
}

static int creates(int flags, const char *path) {
    return (flags & O_CREAT) && path && path[0] == '/' && access(path, F_OK) != 0;
}

#define REAL(name) static __typeof__(&name) real; if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)
#define MODE mode_t mode = 0; if (flags & (O_CREAT | O_TMPFILE)) { va_list rest; va_start(rest, flags); mode = va_arg(rest, mode_t); va_end(rest); }

int open(const char *path, int flags, ...) { REAL(open); MODE; if (creates(flags, path) && fails("open", path)) return -1; return real(path, flags, mode); }
int open64(const char *path, int flags, ...) { REAL(open64); MODE; if (creates(flags, path) && fails("open", path)) return -1; return real(path, flags, mode); }
int openat(int at, const char *path, int flags, ...) { REAL(openat); MODE; if (creates(flags, path) && fails("open", path)) return -1; return real(at, path, flags, mode); }
int openat64(int at, const char *path, int flags, ...) { REAL(openat64); MODE; if (creates(flags, path) && fails("open", path)) return -1; return real(at, path, flags, mode); }
ssize_t write(int handle, const void *data, size_t size) { REAL(write); if (fails_open("write", handle)) return -1; return real(handle, data, size); }
ssize_t pwrite(int handle, const void *data, size_t size, off_t at) { REAL(pwrite); if (fails_open("write", handle)) return -1; return real(handle, data, size, at); }
ssize_t pwrite64(int handle, const void *data, size_t size, off64_t at) { REAL(pwrite64); if (fails_open("write", handle)) return -1; return real(handle, data, size, at); }
ssize_t writev(int handle, const struct iovec *data, int count) { REAL(writev); if (fails_open("write", handle)) return -1; return real(handle, data, count); }
int fsync(int handle) { REAL(fsync); if (fails_open("fsync", handle)) return -1; return real(handle); }
int fdatasync(int handle) { REAL(fdatasync); if (fails_open("fsync", handle)) return -1; return real(handle); }
int fallocate64(int handle, int mode, off64_t at, off64_t size) { REAL(fallocate64); if (fails_open("fallocate", handle)) return -1; return real(handle, mode, at, size); }
ssize_t copy_file_range(int in, off64_t *from, int out, off64_t *to, size_t size, unsigned flags) { REAL(copy_file_range); if (fails_open("write", out)) return -1; return real(in, from, out, to, size, flags); }
ssize_t sendfile(int out, int in, off_t *at, size_t size) { REAL(sendfile); if (fails_open("write", out)) return -1; return real(out, in, at, size); }
ssize_t sendfile64(int out, int in, off64_t *at, size_t size) { REAL(sendfile64); if (fails_open("write", out)) return -1; return real(out, in, at, size); }
int mkdir(const char *path, mode_t mode) { REAL(mkdir); if (access(path, F_OK) != 0 && fails("mkdir", path)) return -1; return real(path, mode); }
int rename(const char *from, const char *to) { REAL(rename); if (fails("rename", to)) return -1; return real(from, to); }
int symlink(const char *to, const char *path) { REAL(symlink); if (fails("symlink", path)) return -1; return real(to, path); }
int link(const char *from, const char *to) { REAL(link); if (fails("link", to)) return -1; return real(from, to); }
