/* The engine for other languages: plain C, no exception leaves it. Every function that can fail
 * returns a status (or null) and writes a message. */
#ifndef HWFLOW_C_API_H
#define HWFLOW_C_API_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define HWFLOW_API __attribute__((visibility("default")))

typedef struct hwflow_engine hwflow_engine;

enum hwflow_status {
  HWFLOW_DONE = 0,
  HWFLOW_BAD_PROGRAM = 1,
  HWFLOW_BAD_INPUT = 2,
  HWFLOW_CANCELLED = 3,
  HWFLOW_FAILED = 4, /* no memory, no thread */
};

/* Raw integers of all images, shape (N, H, W, C). */
typedef struct {
  int64_t operation; /* place in the program */
  void* data;
  int32_t item_bytes; /* inputs 1, 2, 4, 8; outputs 4, 8 */
  int32_t is_signed;
} hwflow_array;

/* Of one tensor; `below` are those of the saturated that lay under the range. */
typedef struct {
  int64_t count, minimum, maximum, saturated, below, wrapped;
} hwflow_statistics;

/* Told how many images are done; nonzero stops the run. Called by the caller's thread. */
typedef int (*hwflow_progress)(int64_t done, void* user);

/* Digest of the sources that this library was compiled from (see setup.py); empty if not told. */
HWFLOW_API const char* hwflow_source_digest(void);

/* Names of the paths that this machine can run, separated by commas, the fastest first. */
HWFLOW_API const char* hwflow_paths(void);

/* Loads a program from the two files of an integer graph. Null, status and message on failure. */
HWFLOW_API hwflow_engine* hwflow_load(const char* json, int64_t json_bytes, const void* npz,
                                      int64_t npz_bytes, int32_t threads, const char* path,
                                      int32_t* status, char* message, int64_t message_bytes);
HWFLOW_API void hwflow_free(hwflow_engine* engine);
HWFLOW_API const char* hwflow_path(const hwflow_engine* engine);
HWFLOW_API int32_t hwflow_threads(const hwflow_engine* engine);
/* Bytes that one image takes when only the outputs are kept; negative on failure. */
HWFLOW_API int64_t hwflow_arena_bytes(hwflow_engine* engine);

HWFLOW_API int32_t hwflow_run(hwflow_engine* engine, const hwflow_array* inputs,
                              int64_t input_count, const hwflow_array* outputs,
                              int64_t output_count, int64_t images, int32_t statistics,
                              hwflow_progress progress, void* user, char* message,
                              int64_t message_bytes);

/* Of all runs with statistics so far; `result` has room for one of each operation. */
HWFLOW_API void hwflow_read_statistics(const hwflow_engine* engine, hwflow_statistics* result);
HWFLOW_API void hwflow_reset_statistics(hwflow_engine* engine);

/* Multiply-accumulates a second of a path's kernels in registers alone, on one core, the best of
 * some rounds; negative if the path cannot run here or has no kernels. */
HWFLOW_API double hwflow_peak(const char* path, int32_t rounds);

#ifdef __cplusplus
}
#endif
#endif
