/*
 * What the server costs, read from /proc.
 */

#include "proc.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>


typedef struct {
    pid_t  pid;
    pid_t  parent;
} proc_pair_t;


static uint32_t proc_tree(pid_t root, pid_t *pids);
static pid_t proc_parent(pid_t pid);
static uint64_t proc_field(const char *text, const char *name);
static size_t proc_read(const char *path, char *text, size_t size);


void
cf_proc_cpu(pid_t root, cf_cpu_t *cpu)
{
    uint32_t  i;

    cpu->n = proc_tree(root, cpu->pids);

    for (i = 0; i < cpu->n; i++) {
        cpu->cpu[i] = cf_proc_cpu_of(cpu->pids[i]);
    }
}


uint64_t
cf_proc_spent(const cf_cpu_t *before, const cf_cpu_t *after,
    uint32_t *exited)
{
    uint32_t  i, j, known;
    uint64_t  spent;

    spent = 0;
    known = 0;

    for (i = 0; i < after->n; i++) {
        spent += after->cpu[i];

        for (j = 0; j < before->n; j++) {

            if (before->pids[j] == after->pids[i]) {
                spent -= before->cpu[j];
                known++;
                break;
            }
        }
    }

    *exited = before->n - known;

    return spent;
}


/* The first number of schedstat is the time on a CPU in nanoseconds. */

uint64_t
cf_proc_cpu_of(pid_t pid)
{
    DIR            *dir;
    char            path[128], text[256];
    uint64_t        cpu;
    struct dirent  *d;

    snprintf(path, sizeof(path), "/proc/%d/task", (int) pid);

    dir = opendir(path);
    if (dir == NULL) {
        return 0;
    }

    cpu = 0;

    while ((d = readdir(dir)) != NULL) {

        if (d->d_name[0] == '.') {
            continue;
        }

        snprintf(path, sizeof(path), "/proc/%d/task/%d/schedstat", (int) pid,
                 atoi(d->d_name));

        if (proc_read(path, text, sizeof(text))) {
            cpu += strtoull(text, NULL, 10);
        }
    }

    closedir(dir);

    return cpu;
}


void
cf_proc_memory(pid_t root, cf_memory_t *memory)
{
    char      path[64], text[4096];
    pid_t     pids[CF_PROC_MAX];
    uint32_t  i, n;

    memset(memory, 0, sizeof(cf_memory_t));

    n = proc_tree(root, pids);

    for (i = 0; i < n; i++) {
        snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int) pids[i]);

        if (proc_read(path, text, sizeof(text)) == 0) {
            continue;
        }

        memory->processes++;
        memory->total += proc_field(text, "\nPss:");
        memory->anon += proc_field(text, "\nPss_Anon:");
        memory->file += proc_field(text, "\nPss_File:");
        memory->shmem += proc_field(text, "\nPss_Shmem:");
    }
}


/*
 * Segments that the whole machine has sent; on the loopback interface both
 * directions are among them, data and bare acknowledgements alike.
 */

uint64_t
cf_proc_segments(void)
{
    char         text[8192], *names, *values, *name, *value, *n, *v;
    uint64_t     segments;

    if (proc_read("/proc/net/snmp", text, sizeof(text)) == 0) {
        return 0;
    }

    names = strstr(text, "\nTcp:");
    values = names ? strstr(names + 1, "\nTcp:") : NULL;

    if (values == NULL) {
        return 0;
    }

    *values = '\0';
    segments = 0;
    n = NULL;
    v = NULL;

    name = strtok_r(names, " \n", &n);
    value = strtok_r(values + 1, " \n", &v);

    while (name && value) {

        if (strcmp(name, "OutSegs") == 0) {
            segments = strtoull(value, NULL, 10);
            break;
        }

        name = strtok_r(NULL, " \n", &n);
        value = strtok_r(NULL, " \n", &v);
    }

    return segments;
}


static uint32_t
proc_tree(pid_t root, pid_t *pids)
{
    DIR            *dir;
    pid_t           pid;
    uint32_t        i, j, n, count, size;
    proc_pair_t    *all, *more;
    struct dirent  *d;

    pids[0] = root;
    n = 1;

    dir = opendir("/proc");
    if (dir == NULL) {
        return n;
    }

    size = 0;
    count = 0;
    all = NULL;

    while ((d = readdir(dir)) != NULL) {
        pid = atoi(d->d_name);

        if (pid <= 0) {
            continue;
        }

        if (count == size) {
            size = size ? size * 2 : 512;
            more = realloc(all, size * sizeof(proc_pair_t));

            if (more == NULL) {
                cf_die("no memory for a list of processes");
            }

            all = more;
        }

        all[count].pid = pid;
        all[count++].parent = proc_parent(pid);
    }

    closedir(dir);

    for (i = 0; i < n; i++) {

        for (j = 0; j < count && n < CF_PROC_MAX; j++) {

            if (all[j].parent == pids[i]) {
                pids[n++] = all[j].pid;
            }
        }
    }

    free(all);

    return n;
}


static pid_t
proc_parent(pid_t pid)
{
    char  path[64], text[512], *p;

    snprintf(path, sizeof(path), "/proc/%d/stat", (int) pid);

    if (proc_read(path, text, sizeof(text)) == 0) {
        return 0;
    }

    /* the name before it may have blanks and brackets of its own */

    p = strrchr(text, ')');

    return (p && strlen(p) > 4) ? (pid_t) atoi(p + 4) : 0;
}


/* kB, in bytes */

static uint64_t
proc_field(const char *text, const char *name)
{
    const char  *p;

    p = strstr(text, name);

    return p ? strtoull(p + strlen(name), NULL, 10) * 1024 : 0;
}


static size_t
proc_read(const char *path, char *text, size_t size)
{
    FILE    *f;
    size_t   n;

    f = fopen(path, "r");
    if (f == NULL) {
        return 0;
    }

    n = fread(text, 1, size - 1, f);
    fclose(f);
    text[n] = '\0';

    return n;
}
