/* Messages of the GRPC door, with all else as for bodies of the HTTP API. */

#define FUZZ_GRPC  1

#include "fuzz_api.c"
