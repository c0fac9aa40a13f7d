/*
 * The shared zones behind a configuration: made at the first start, kept over
 * reloads as long as their size stays.
 */

#include "ngx_centrifugo_conf.h"

#include <sys/random.h>
#include <unistd.h>


/* the doorbells of a registry, as the process that made them knows them */
typedef struct {
    ngx_centrifugo_registry_t  *registry;
    ngx_uint_t                  cycles;     /* that use it */
    ngx_uint_t                  n;
    ngx_centrifugo_bell_t       bells[NGX_CENTRIFUGO_BELLS];
} zones_bells_t;


static ngx_int_t zones_add_registry(ngx_conf_t *cf,
    ngx_centrifugo_main_conf_t *mcf);
static ngx_int_t zones_init_registry(ngx_shm_zone_t *zone, void *data);
static ngx_int_t zones_init_hub(ngx_shm_zone_t *zone, void *data);
static ngx_centrifugo_hub_conf_t *zones_old(volatile ngx_cycle_t *cycle,
    ngx_str_t *name);
static void *zones_take_all(ngx_slab_pool_t *pool, size_t *size);
static void zones_hold_bells(ngx_cycle_t *cycle,
    ngx_centrifugo_registry_t *registry);
static void zones_release_bells(void *data);


static zones_bells_t  *zones_held;


ngx_int_t
ngx_centrifugo_zones_add(ngx_conf_t *cf, ngx_centrifugo_main_conf_t *mcf,
    ngx_centrifugo_hub_conf_t *hcf)
{
    ngx_str_t  name;

    if (mcf->registry_zone == NULL && zones_add_registry(cf, mcf) != NGX_OK) {
        return NGX_ERROR;
    }

    name.len = sizeof("ngx_centrifugo_hub_") - 1 + hcf->name.len;
    name.data = ngx_pnalloc(cf->pool, name.len);
    if (name.data == NULL) {
        return NGX_ERROR;
    }

    ngx_sprintf(name.data, "ngx_centrifugo_hub_%V", &hcf->name);

    hcf->shm_zone = ngx_shared_memory_add(cf, &name, hcf->zone,
                                          &ngx_centrifugo_module);
    if (hcf->shm_zone == NULL) {
        return NGX_ERROR;
    }

    hcf->shm_zone->init = zones_init_hub;
    hcf->shm_zone->data = hcf;

    return NGX_OK;
}


static ngx_int_t
zones_add_registry(ngx_conf_t *cf, ngx_centrifugo_main_conf_t *mcf)
{
    ngx_str_t  name = ngx_string("ngx_centrifugo_workers");

    mcf->registry_zone = ngx_shared_memory_add(cf, &name,
                                               NGX_CENTRIFUGO_REGISTRY_SIZE,
                                               &ngx_centrifugo_module);
    if (mcf->registry_zone == NULL) {
        return NGX_ERROR;
    }

    mcf->registry_zone->init = zones_init_registry;
    mcf->registry_zone->data = mcf;

    return NGX_OK;
}


static ngx_int_t
zones_init_registry(ngx_shm_zone_t *zone, void *data)
{
    ngx_centrifugo_main_conf_t  *old = data;

    size_t                       size;
    ngx_centrifugo_main_conf_t  *mcf;

    mcf = zone->data;

    if (old) {
        mcf->registry = old->registry;
        return NGX_OK;
    }

    mcf->registry = zones_take_all((ngx_slab_pool_t *) zone->shm.addr, &size);

    if (mcf->registry == NULL || size < sizeof(ngx_centrifugo_registry_t)
        || ngx_centrifugo_registry_init(mcf->registry) != NGX_OK)
    {
        ngx_log_error(NGX_LOG_EMERG, zone->shm.log, 0,
                      "could not prepare the zone of centrifugo workers");
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
zones_init_hub(ngx_shm_zone_t *zone, void *data)
{
    ngx_centrifugo_hub_conf_t  *old = data;

    void                       *mem;
    size_t                      size, control;
    u_char                      seed[32];
    ngx_uint_t                  slots;
    ngx_centrifugo_hub_conf_t  *hcf;

    hcf = zone->data;
    slots = ngx_centrifugo_zones_slots(hcf->cycle);

    if (old) {

        /* the reload may still fail: nothing is written here */

        hcf->hub.shm = old->hub.shm;

        if (ngx_centrifugo_hub_log_size(hcf->hub.shm) != hcf->log
            || ngx_centrifugo_hub_slots(hcf->hub.shm) != slots)
        {
            ngx_log_error(NGX_LOG_WARN, zone->shm.log, 0,
                          "zone of hub \"%V\" is kept with a log of %uz bytes "
                          "and %ui slots though %uz and %ui are asked for; "
                          "change its size or restart to make it anew",
                          &hcf->name,
                          ngx_centrifugo_hub_log_size(hcf->hub.shm),
                          ngx_centrifugo_hub_slots(hcf->hub.shm),
                          hcf->log, slots);
        }

        return NGX_OK;
    }

    if (getrandom(seed, sizeof(seed), 0) != (ssize_t) sizeof(seed)) {
        ngx_log_error(NGX_LOG_EMERG, zone->shm.log, ngx_errno,
                      "getrandom() failed");
        return NGX_ERROR;
    }

    mem = zones_take_all((ngx_slab_pool_t *) zone->shm.addr, &size);

    if (mem) {
        control = ngx_centrifugo_hub_control_size(hcf->log);

#if (NGX_CENTRIFUGO_TEST)
        control = hcf->test_control ? hcf->test_control : control;
#endif

        hcf->hub.shm = ngx_centrifugo_hub_format(mem, size, hcf->log, control,
                                                 slots, seed);
    }

    if (hcf->hub.shm == NULL) {
        ngx_log_error(NGX_LOG_EMERG, zone->shm.log, 0,
                      "zone of hub \"%V\" is too small for %ui slots: write a "
                      "larger \"zone\"", &hcf->name, slots);
        return NGX_ERROR;
    }

    return NGX_OK;
}


/*
 * All free pages of the slab pool in one piece: it is never called again,
 * since a worker killed inside of it leaves a list that nobody repairs.
 */

static void *
zones_take_all(ngx_slab_pool_t *pool, size_t *size)
{
    pool->log_nomem = 0;
    *size = pool->pfree * ngx_pagesize;

    return ngx_slab_alloc(pool, *size);
}


ngx_int_t
ngx_centrifugo_zones_check(ngx_conf_t *cf, ngx_centrifugo_main_conf_t *mcf)
{
    /* a process that only looks at a configuration has no old cycle */

    if (ngx_process != NGX_PROCESS_SINGLE
        || zones_old(ngx_cycle, NULL) == NULL)
    {
        return NGX_OK;
    }

    ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                  "a hub can't be reloaded with \"master_process off\": "
                  "restart NGINX, or write \"master_process on;\"");

    return NGX_ERROR;
}


void
ngx_centrifugo_zones_replace(ngx_cycle_t *cycle,
    ngx_centrifugo_main_conf_t *mcf)
{
    ngx_uint_t                   i;
    ngx_centrifugo_hub_conf_t   *old, **hcf;

    hcf = mcf->hubs.elts;

    for (i = 0; i < mcf->hubs.nelts; i++) {

        old = cycle->old_cycle
              ? zones_old(cycle->old_cycle, &hcf[i]->shm_zone->shm.name)
              : NULL;

        if (old && old->hub.shm && old->hub.shm != hcf[i]->hub.shm) {
            ngx_log_error(NGX_LOG_WARN, cycle->log, 0,
                          "zone of hub \"%V\" has another size and starts "
                          "empty, clients of the old one have to reconnect",
                          &hcf[i]->name);

            ngx_centrifugo_hub_replace(old->hub.shm);
        }
    }
}


/*
 * The hub of that zone (NULL: of any) in a cycle that was made by this very
 * module: another copy of it has another tag.
 */

static ngx_centrifugo_hub_conf_t *
zones_old(volatile ngx_cycle_t *cycle, ngx_str_t *name)
{
    ngx_uint_t        i;
    ngx_shm_zone_t   *zone;
    ngx_list_part_t  *part;

    if (cycle->conf_ctx == NULL) {
        return NULL;
    }

    for (part = (ngx_list_part_t *) &cycle->shared_memory.part;
         part;
         part = part->next)
    {
        zone = part->elts;

        for (i = 0; i < part->nelts; i++) {

            if (zone[i].tag == &ngx_centrifugo_module
                && zone[i].init == zones_init_hub
                && (name == NULL
                    || (zone[i].shm.name.len == name->len
                        && ngx_strncmp(zone[i].shm.name.data, name->data,
                                       name->len)
                           == 0)))
            {
                return zone[i].data;
            }
        }
    }

    return NULL;
}


void
ngx_centrifugo_zones_bells(ngx_cycle_t *cycle,
    ngx_centrifugo_main_conf_t *mcf)
{
    ngx_uint_t        n;
    ngx_core_conf_t  *ccf;

    if (mcf->registry->nbells) {
        zones_hold_bells(cycle, mcf->registry);
        return;
    }

    ccf = (ngx_core_conf_t *) ngx_get_conf(cycle->conf_ctx, ngx_core_module);

    n = ngx_min(ngx_max(4 * ccf->worker_processes, 32),
                NGX_CENTRIFUGO_BELLS);

    if (ngx_centrifugo_registry_bells(mcf->registry, n) != NGX_OK) {
        ngx_log_error(NGX_LOG_WARN, cycle->log, ngx_errno,
                      "centrifugo: only %uD of %ui doorbells could be made, "
                      "workers without one poll",
                      mcf->registry->nbells, n);
    }

    zones_hold_bells(cycle, mcf->registry);
}


/*
 * The registry's zone goes with the last cycle that has a hub, and so must the
 * descriptors.  Workers have their own copies of both.
 */

static void
zones_hold_bells(ngx_cycle_t *cycle, ngx_centrifugo_registry_t *registry)
{
    zones_bells_t       *held;
    ngx_pool_cleanup_t  *cln;

    held = zones_held;

    if (held == NULL || held->registry != registry) {

        held = malloc(sizeof(zones_bells_t));
        if (held == NULL) {
            return;
        }

        held->registry = registry;
        held->cycles = 0;
        held->n = registry->nbells;
        ngx_memcpy(held->bells, registry->bells,
                   held->n * sizeof(ngx_centrifugo_bell_t));
    }

    cln = ngx_pool_cleanup_add(cycle->pool, 0);

    held->cycles++;
    zones_held = held;

    /* without memory they stay open: none may be missing */

    if (cln) {
        cln->handler = zones_release_bells;
        cln->data = held;
    }
}


static void
zones_release_bells(void *data)
{
    zones_bells_t *held = data;

    ngx_uint_t              i;
    ngx_centrifugo_bell_t  *bell;

    if (--held->cycles) {
        return;
    }

    for (i = 0; i < held->n; i++) {
        bell = &held->bells[i];

        (void) close(bell->rd);

        if (bell->wr != bell->rd) {
            (void) close(bell->wr);
        }
    }

    if (zones_held == held) {
        zones_held = NULL;
    }

    free(held);
}


ngx_uint_t
ngx_centrifugo_zones_slots(ngx_cycle_t *cycle)
{
    ngx_uint_t        n;
    ngx_core_conf_t  *ccf;

    ccf = (ngx_core_conf_t *) ngx_get_conf(cycle->conf_ctx, ngx_core_module);

    n = (ccf->worker_processes > 0) ? 4 * ccf->worker_processes : 0;

    return ngx_min(ngx_max(n, 64), NGX_CENTRIFUGO_SLOTS);
}
