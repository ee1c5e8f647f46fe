/* Shifts the wall clock of one process by MEDINDEX_CLOCK_OFFSET seconds; preloaded (LD_PRELOAD). Clocks that only count up stay as they are. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

static long offset(void) {
    const char *text = getenv("MEDINDEX_CLOCK_OFFSET");
    return text ? atol(text) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    long outcome = syscall(SYS_clock_gettime, clock, now);
    if (outcome == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += offset();
    return (int)outcome;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    long outcome = syscall(SYS_gettimeofday, now, zone);
    if (outcome == 0) now->tv_sec += offset();
    return (int)outcome;
}

time_t time(time_t *into) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (into) *into = now.tv_sec;
    return now.tv_sec;
}

/* Kafka's library reckons the ends of its waits from the clock above; the kernel does not know that one. */
int cnd_timedwait(cnd_t *restrict condition, mtx_t *restrict mutex, const struct timespec *restrict end) {
    int (*wait)(cnd_t *, mtx_t *, const struct timespec *) = dlsym(RTLD_NEXT, "cnd_timedwait");
    struct timespec real = *end;
    real.tv_sec -= offset();
    return wait(condition, mutex, &real);
}
