/* The dataflow simulation for other languages: plain C, no exception leaves it. */
#ifndef HWFLOW_DATAFLOW_API_H
#define HWFLOW_DATAFLOW_API_H

#include <stdint.h>

#define HWFLOW_API __attribute__((visibility("default")))

#ifdef __cplusplus
extern "C" {
#endif

/* One end of a stream at a process; ports stand process by process. */
typedef struct {
  int64_t process;
  int64_t stream;
  int64_t writes;       /* 0: reads */
  const int32_t* ticks; /* ascending, below the process's period */
  int64_t count;
} hwflow_port;

/* Simulates; returns 0 if every frame went through, 1 on a deadlock, 2 for want of memory.
 * fill: by stream. waits_for: by process, a stream or -1. finished: by process, frames done.
 * figures: by process and frame: first, last, waited_to_read, waited_to_write. */
HWFLOW_API int32_t hwflow_dataflow(const int64_t* periods, int64_t processes,
                                   const hwflow_port* ports, int64_t port_count,
                                   const int64_t* depths, int64_t streams, int64_t frames,
                                   int64_t* fill, int64_t* waits_for, int64_t* finished,
                                   int64_t* figures);

/* A network held to an interval; see steady.hpp. Null for want of memory. */
typedef struct hwflow_steady hwflow_steady;
HWFLOW_API hwflow_steady* hwflow_steady_new(const int64_t* periods, int64_t processes,
                                            const hwflow_port* ports, int64_t port_count,
                                            int64_t streams, int64_t interval);
HWFLOW_API void hwflow_steady_delete(hwflow_steady* state);

/* Both return a `Steadiness`, or -1 for want of memory, after which the state is of no use.
 * found: the interval that is kept, or the least that could be; the depth needed, or 0. waits_for: by
 * process, a stream or -1. */
HWFLOW_API int32_t hwflow_steady_settle(hwflow_steady* state, const int64_t* depths,
                                        int64_t* found, int64_t* waits_for);
HWFLOW_API int32_t hwflow_steady_change(hwflow_steady* state, const int64_t* streams,
                                        const int64_t* depths, int64_t count,
                                        int64_t only_tried, int64_t* found, int64_t* waits_for);
/* fill: by stream. Returns 0, or -1 for want of memory. */
HWFLOW_API int32_t hwflow_steady_fill(const hwflow_steady* state, int64_t* fill);

/* Becomes as another state of the same network and interval is. Returns 0, or -1 for want of
 * memory. */
HWFLOW_API int32_t hwflow_steady_follow(hwflow_steady* state, const hwflow_steady* other);

#ifdef __cplusplus
}
#endif
#endif
