// LD_PRELOAD: lets calls on what lies below a folder "checkpoints" fail, be cut short or kill the process, and records
// their order.
//
// FAULT_LOG    a file that gets "SAVE CALL PATH RESULT" for every call; RESULT is ok, an error's number, or how many of
//              how many bytes
// FAULT_PLAN   faults "SAVE:CALL:NAME:NTH:KIND", separated by ';'. SAVE: number of the save in this process, from 1 (a
//              save begins with the mkdir of .tmp-step-*). CALL: mkdir open write fsync close rename unlink rmdir
//              opendir fsyncdir. NAME: the last part of the path. NTH: of the calls in this save that fit, from 1.
//              '*' fits any SAVE or NTH, and 'x*' every CALL or NAME that begins with x. KIND: the number of an error;
//              "kill", before the call; "killed", after it; "short", half of a write; "full", half of a write and then
//              ENOSPC for that file.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { kMaxFaults = 512, kText = 64 };

struct fault {
  char save[kText], call[kText], name[kText], nth[kText], kind[kText];
  int seen_in_save, seen;  // calls that fitted in save number seen_in_save
};

static struct fault faults[kMaxFaults];
static int fault_count = 0, save_number = 0, log_fd = -1;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

__attribute__((constructor)) static void begin(void) {
  const char* log = getenv("FAULT_LOG");
  if (log != NULL) log_fd = REAL(open)(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  const char* plan = getenv("FAULT_PLAN");
  char* copy = strdup(plan != NULL ? plan : "");
  char* rest = NULL;
  for (char* part = strtok_r(copy, ";", &rest); part != NULL; part = strtok_r(NULL, ";", &rest)) {
    struct fault* f = &faults[fault_count];
    if (fault_count == kMaxFaults ||
        sscanf(part, "%63[^:]:%63[^:]:%63[^:]:%63[^:]:%63s", f->save, f->call, f->name, f->nth, f->kind) != 5) {
      fprintf(stderr, "fault_shim: cannot use '%s' of FAULT_PLAN\n", part);
      _exit(99);
    }
    ++fault_count;
  }
  free(copy);
}

static bool fits(const char* pattern, const char* text) {
  const size_t length = strlen(pattern);
  if (pattern[length - 1] == '*') return strncmp(pattern, text, length - 1) == 0;
  return strcmp(pattern, text) == 0;
}

static bool fits_number(const char* pattern, int number) {
  return strcmp(pattern, "*") == 0 || atoi(pattern) == number;
}

static const char* last_part(const char* path) {
  const char* slash = strrchr(path, '/');
  return slash != NULL ? slash + 1 : path;
}

static bool concerns(const char* path) {
  const char* found = path != NULL ? strstr(path, "checkpoints") : NULL;
  return found != NULL && (found[11] == '/' || found[11] == '\0');
}

static bool path_of(int fd, char* path, size_t size) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const ssize_t length = readlink(link, path, size - 1);
  path[length > 0 ? length : 0] = '\0';
  return length > 0 && concerns(path);
}

static void die(void) {
  kill(getpid(), SIGKILL);
  for (;;) pause();
}

// The fault of this call, or "". Faults that kill before it do so here.
static const char* due(const char* call, const char* path) {
  const char* kind = "";
  pthread_mutex_lock(&mutex);
  const char* name = last_part(path);
  if (strcmp(call, "mkdir") == 0 && strncmp(name, ".tmp-step-", 10) == 0) ++save_number;
  for (int i = 0; i < fault_count; ++i) {
    struct fault* f = &faults[i];
    if (!fits_number(f->save, save_number) || !fits(f->call, call) || !fits(f->name, name)) continue;
    if (f->seen_in_save != save_number) f->seen = 0;
    f->seen_in_save = save_number;
    ++f->seen;
    const bool onward = strcmp(f->kind, "full") == 0 && f->seen > atoi(f->nth);
    if (onward) kind = "28";
    if (fits_number(f->nth, f->seen)) kind = f->kind;
  }
  pthread_mutex_unlock(&mutex);
  if (strcmp(kind, "kill") == 0) die();
  return kind;
}

static bool fails(const char* kind) {
  if (atoi(kind) == 0) return false;
  errno = atoi(kind);
  return true;
}

static void record(const char* call, const char* path, const char* kind, long result, long wanted) {
  const int error = errno;
  char line[4400], outcome[64] = "ok";
  if (result < 0) snprintf(outcome, sizeof outcome, "%d", error);
  if (result >= 0 && wanted > 0) snprintf(outcome, sizeof outcome, "%ld/%ld", result, wanted);
  const int length = snprintf(line, sizeof line, "%d %s %s %s\n", save_number, call, path, outcome);
  if (log_fd >= 0 && REAL(write)(log_fd, line, (size_t)length) != length) _exit(98);
  if (strcmp(kind, "killed") == 0) die();
  errno = error;
}

// A call on a path, which `real` makes.
#define GUARD(call, path, real)                     \
  do {                                              \
    if (!concerns(path)) return (real);             \
    const char* kind = due(call, path);             \
    const long result = fails(kind) ? -1 : (real);  \
    record(call, path, kind, result, 0);            \
    return (int)result;                             \
  } while (0)

static int opened(const char* symbol, const char* path, int flags, mode_t mode) {
  int (*real)(const char*, int, ...) = (int (*)(const char*, int, ...))dlsym(RTLD_NEXT, symbol);
  if ((flags & O_DIRECTORY) != 0) GUARD("opendir", path, real(path, flags, mode));
  if ((flags & O_CREAT) != 0) GUARD("open", path, real(path, flags, mode));
  return real(path, flags, mode);  // for reading
}

#define OPEN(symbol)                                       \
  int symbol(const char* path, int flags, ...) {           \
    va_list list;                                          \
    va_start(list, flags);                                 \
    const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(list, mode_t) : 0; \
    va_end(list);                                          \
    return opened(#symbol, path, flags, mode);             \
  }
OPEN(open)
OPEN(open64)

ssize_t write(int fd, const void* bytes, size_t size) {
  char path[4200];
  if (fd == log_fd || !path_of(fd, path, sizeof path)) return REAL(write)(fd, bytes, size);
  const char* kind = due("write", path);
  const bool half = size > 1 && (strcmp(kind, "short") == 0 || strcmp(kind, "full") == 0);
  const ssize_t result = fails(kind) ? -1 : REAL(write)(fd, bytes, half ? size / 2 : size);
  record("write", path, kind, result, (long)size);
  return result;
}

int fsync(int fd) {
  char path[4200];
  if (!path_of(fd, path, sizeof path)) return REAL(fsync)(fd);
  struct stat status;
  const bool folder = fstat(fd, &status) == 0 && S_ISDIR(status.st_mode);
  GUARD(folder ? "fsyncdir" : "fsync", path, REAL(fsync)(fd));
}

int close(int fd) {
  char path[4200];
  if (!path_of(fd, path, sizeof path)) return REAL(close)(fd);
  const int flags = fcntl(fd, F_GETFL);
  if ((flags & O_ACCMODE) == O_RDONLY) return REAL(close)(fd);
  const char* kind = due("close", path);
  const int closed = REAL(close)(fd);  // Linux closes even where it reports an error
  const long result = fails(kind) ? -1 : closed;
  record("close", path, kind, result, 0);
  return (int)result;
}

int rename(const char* from, const char* to) { GUARD("rename", to, REAL(rename)(from, to)); }
int mkdir(const char* path, mode_t mode) { GUARD("mkdir", path, REAL(mkdir)(path, mode)); }
int unlink(const char* path) { GUARD("unlink", path, REAL(unlink)(path)); }
int rmdir(const char* path) { GUARD("rmdir", path, REAL(rmdir)(path)); }
