#ifndef CFLOAD_PROC_H_INCLUDED
#define CFLOAD_PROC_H_INCLUDED


#include "cfload.h"


#define CF_PROC_MAX  1024


/* CPU time in ns of processes that live at one moment. */

typedef struct {
    uint32_t  n;
    pid_t     pids[CF_PROC_MAX];
    uint64_t  cpu[CF_PROC_MAX];
} cf_cpu_t;


/* the process and all below it */

void cf_proc_cpu(pid_t root, cf_cpu_t *cpu);

/* from one moment to the other; what ended in between is counted, too */

uint64_t cf_proc_spent(const cf_cpu_t *before, const cf_cpu_t *after,
    uint32_t *exited);

uint64_t cf_proc_cpu_of(pid_t pid);
void cf_proc_memory(pid_t root, cf_memory_t *memory);
uint64_t cf_proc_segments(void);


#endif /* CFLOAD_PROC_H_INCLUDED */
