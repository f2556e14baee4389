/* A CUDA driver, runtime and cuBLAS that accept every call, compute nothing and write down what they were asked.

Preloaded (gpu_build.py), it stands between torch's CUDA build and the GPU that is not there: torch's own dispatch,
allocator, dtype and device checks run, its kernels do not. What it knows:

- devices: FAKE_GPUS of them (1), each of FAKE_GPU_GIB (80), chosen and renumbered by CUDA_VISIBLE_DEVICES;
  a device has a context from the first call that a real one would need one for;
- memory: device memory is address space that nobody may touch (a CPU kernel that is handed a pointer to it dies),
  what is copied from it reads as zeros, more than there is is refused; a small copy to it can be read back until the
  next kernel (collectives send a few numbers that way);
- FAKE_GPU_DRIVER: the driver's CUDA version; below the runtime's no GPU is to be had, as with an old driver.

Everything is logged (`fake_event`); with FAKE_GPU_REPORT=FOLDER each process leaves FOLDER/PID.json at its end. */
#define _GNU_SOURCE
#include <cublasLt.h>
#include <cuda.h>
#include <cuda_runtime_api.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define DEVICES 16
#define EXPORT __attribute__((visibility("default")))
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* -- devices */

static __thread int current;
static struct { int active; size_t used, peak; long launches, waits; } state[DEVICES]; /* by physical number */

static double number(const char *name, double otherwise) {
  const char *text = getenv(name);
  return text && *text ? atof(text) : otherwise;
}

static size_t capacity(void) { return (size_t)(number("FAKE_GPU_GIB", 80) * (1ull << 30)); }

/* Physical number of the visible device `index`, -1 past the last. A name that is no number (GPU-..., MIG-...) is
   taken for the device of its place in the list. */
static int physical(int index) {
  int all = (int)number("FAKE_GPUS", 1), place = 0;
  const char *visible = getenv("CUDA_VISIBLE_DEVICES");
  if (!visible) return index < all ? index : -1;
  char list[256], *rest = list, *entry;
  snprintf(list, sizeof list, "%s", visible);
  for (; (entry = strsep(&rest, ",")) && *entry; place++) {
    char *end;
    long named = strtol(entry, &end, 10);
    int device = *end ? place : (int)named;
    if (device >= all) return -1; /* as CUDA: the list ends at the first that is none */
    if (place == index) return device;
  }
  return -1;
}

/* -- the log */

typedef struct { const char *name; size_t bytes; int kind, device; } Event;
enum { KERNEL = 'K', PRODUCT = 'G', FILL = 'M', COPY = 'C', WAIT = 'S', ALLOCATION = 'A', PINNED = 'P', CONTEXT = 'X' };
#define KEPT (1 << 21)
static Event events[KEPT];
static long logged;

EXPORT Event *fake_events(void) { return events; }
EXPORT long fake_count(void) { return logged < KEPT ? logged : KEPT; }
EXPORT void fake_reset(void) { logged = 0; }

static void note_on(int device, int kind, const char *name, size_t bytes) {
  pthread_mutex_lock(&lock);
  if (logged < KEPT) events[logged] = (Event){name, bytes, kind, device};
  logged++;
  state[device].launches += kind == KERNEL || kind == PRODUCT;
  state[device].waits += kind == WAIT;
  pthread_mutex_unlock(&lock);
}

static int touched(void) { /* the device that a call works on; it has a context from now on */
  int device = physical(current);
  if (device < 0) device = 0;
  if (!state[device].active) {
    state[device].active = 1;
    note_on(device, CONTEXT, "context", 0);
  }
  return device;
}

static void note(int kind, const char *name, size_t bytes) { note_on(touched(), kind, name, bytes); }

__attribute__((destructor)) static void report(void) {
  const char *folder = getenv("FAKE_GPU_REPORT");
  char path[4096];
  if (!folder || !logged) return;
  snprintf(path, sizeof path, "%s/%d.json", folder, getpid());
  FILE *file = fopen(path, "w");
  if (!file) return;
  fprintf(file, "{");
  for (int device = 0, first = 1; device < DEVICES; device++) {
    if (!state[device].active) continue;
    fprintf(file, "%s\"%d\": {\"launches\": %ld, \"waits\": %ld, \"peak\": %zu}", first ? "" : ", ", device,
            state[device].launches, state[device].waits, state[device].peak);
    first = 0;
  }
  fprintf(file, "}\n");
  fclose(file);
}

/* -- kernels: torch's libraries register theirs by the address of a host function */

#define SLOTS (1 << 20)
static struct { const void *host; const char *name; } table[SLOTS];
static void *dummy[64];

static size_t slot(const void *host) {
  size_t i = (((size_t)host >> 4) * 0x9E3779B97F4A7C15ull) >> 44;
  while (table[i].host && table[i].host != host) i = (i + 1) & (SLOTS - 1);
  return i;
}

static void forget(void);
static cudaError_t launch(const void *host) {
  const char *name = table[slot(host)].name;
  forget();
  note(KERNEL, name ? name : "unknown", 0);
  return cudaSuccess;
}

void **__cudaRegisterFatBinary(void *binary) { return dummy; }
void __cudaRegisterFatBinaryEnd(void **handle) {}
void __cudaUnregisterFatBinary(void **handle) {}
void __cudaRegisterVar(void **h, char *host, char *address, const char *name, int e, size_t size, int c, int g) {}
void __cudaRegisterFunction(void **h, const char *host, char *d, const char *name, int l, void *t, void *b, void *bd,
                            void *gd, int *w) {
  size_t i = slot(host);
  table[i].host = host;
  table[i].name = name;
}

static __thread struct { dim3 grid, block; size_t shared; void *stream; } pushed[8];
static __thread int depth;
unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared, void *stream) {
  pushed[depth].grid = grid, pushed[depth].block = block, pushed[depth].shared = shared;
  pushed[depth++].stream = stream;
  return 0;
}
cudaError_t __cudaPopCallConfiguration(dim3 *grid, dim3 *block, size_t *shared, void *stream) {
  depth--;
  *grid = pushed[depth].grid, *block = pushed[depth].block, *shared = pushed[depth].shared;
  *(void **)stream = pushed[depth].stream;
  return cudaSuccess;
}
cudaError_t __cudaGetKernel(cudaKernel_t *kernel, const void *host) { return *kernel = (cudaKernel_t)host, 0; }
cudaError_t __cudaLaunchKernel(cudaKernel_t f, dim3 g, dim3 b, void **a, size_t m, cudaStream_t s) { return launch(f); }
cudaError_t __cudaLaunchKernel_ptsz(cudaKernel_t f, dim3 g, dim3 b, void **a, size_t m, cudaStream_t s) {
  return launch(f);
}
cudaError_t cudaLaunchKernel(const void *f, dim3 g, dim3 b, void **a, size_t m, cudaStream_t s) { return launch(f); }
cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t *c, const void *f, void **a) { return launch(f); }
CUresult cuLaunchKernel(CUfunction f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                        unsigned shared, CUstream s, void **p, void **e) {
  note(KERNEL, "compiled at run time", 0);
  return CUDA_SUCCESS;
}
cudaError_t cudaFuncGetAttributes(struct cudaFuncAttributes *a, const void *f) {
  memset(a, 0, sizeof *a);
  a->maxThreadsPerBlock = 1024, a->numRegs = 32, a->ptxVersion = a->binaryVersion = 90;
  return cudaSuccess;
}
cudaError_t cudaFuncSetAttribute(const void *f, enum cudaFuncAttribute a, int value) { return cudaSuccess; }
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int *n, const void *f, int threads, size_t shared) {
  *n = threads > 0 && threads < 2048 ? 2048 / threads : 1;
  return cudaSuccess;
}
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *n, const void *f, int threads, size_t shared,
                                                                   unsigned flags) {
  return cudaOccupancyMaxActiveBlocksPerMultiprocessor(n, f, threads, shared);
}

/* -- what the devices say of themselves: an H100's figures, where torch chooses by them */

cudaError_t cudaDriverGetVersion(int *version) { return *version = (int)number("FAKE_GPU_DRIVER", CUDART_VERSION), 0; }
cudaError_t cudaRuntimeGetVersion(int *version) { return *version = CUDART_VERSION, 0; }
cudaError_t cudaGetDeviceCount(int *count) {
  int version;
  cudaDriverGetVersion(&version);
  *count = 0;
  if (version / 1000 < CUDART_VERSION / 1000) return cudaErrorInsufficientDriver;
  while (*count < DEVICES && physical(*count) >= 0) ++*count;
  return *count ? cudaSuccess : cudaErrorNoDevice;
}
cudaError_t cudaGetDevice(int *device) { return *device = current, 0; }
cudaError_t cudaSetDevice(int device) {
  if (physical(device) < 0) return cudaErrorInvalidDevice;
  current = device;
  touched();
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *p, int device) {
  memset(p, 0, sizeof *p);
  snprintf(p->name, sizeof p->name, "fake GPU %d", physical(device));
  p->totalGlobalMem = capacity(), p->major = 9, p->minor = 0;
  p->multiProcessorCount = 132, p->l2CacheSize = 50 << 20, p->warpSize = 32;
  p->maxThreadsPerBlock = 1024, p->maxThreadsPerMultiProcessor = 2048, p->maxBlocksPerMultiProcessor = 32;
  p->maxThreadsDim[0] = p->maxThreadsDim[1] = 1024, p->maxThreadsDim[2] = 64;
  p->maxGridSize[0] = 2147483647, p->maxGridSize[1] = p->maxGridSize[2] = 65535;
  p->sharedMemPerBlock = 49152, p->sharedMemPerBlockOptin = 232448, p->sharedMemPerMultiprocessor = 233472;
  p->regsPerBlock = p->regsPerMultiprocessor = 65536, p->totalConstMem = 65536;
  p->memPitch = 2147483647, p->textureAlignment = 512, p->memoryBusWidth = 5120;
  p->concurrentKernels = p->unifiedAddressing = 1;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr attribute, int device) {
  struct cudaDeviceProp p;
  cudaGetDeviceProperties(&p, device);
  switch (attribute) {
    case cudaDevAttrMultiProcessorCount: *value = p.multiProcessorCount; break;
    case cudaDevAttrMaxThreadsPerBlock: *value = p.maxThreadsPerBlock; break;
    case cudaDevAttrMaxThreadsPerMultiProcessor: *value = p.maxThreadsPerMultiProcessor; break;
    case cudaDevAttrMaxBlocksPerMultiprocessor: *value = p.maxBlocksPerMultiProcessor; break;
    case cudaDevAttrMaxSharedMemoryPerBlock: *value = (int)p.sharedMemPerBlock; break;
    case cudaDevAttrMaxRegistersPerBlock: *value = p.regsPerBlock; break;
    case cudaDevAttrMaxGridDimX: *value = p.maxGridSize[0]; break;
    case cudaDevAttrMaxGridDimY: case cudaDevAttrMaxGridDimZ: *value = p.maxGridSize[1]; break;
    case cudaDevAttrWarpSize: *value = p.warpSize; break;
    case cudaDevAttrComputeCapabilityMajor: *value = p.major; break;
    case cudaDevAttrComputeCapabilityMinor: *value = p.minor; break;
    default: *value = 1;
  }
  return cudaSuccess;
}
cudaError_t cudaDeviceGetStreamPriorityRange(int *least, int *greatest) { return *least = 0, *greatest = -5, 0; }
cudaError_t cudaDeviceCanAccessPeer(int *can, int device, int peer) { return *can = 0, 0; }
cudaError_t cudaDeviceGetPCIBusId(char *id, int length, int device) {
  snprintf(id, length, "0000:%02x:00.0", physical(device));
  return cudaSuccess;
}
cudaError_t cudaGetLastError(void) { return cudaSuccess; }
cudaError_t cudaPeekAtLastError(void) { return cudaSuccess; }

/* -- memory */

typedef struct { char *start; size_t bytes; int device; } Range;
#define RANGES (1 << 16)
static Range device_ranges[RANGES], pinned_ranges[RANGES];
static int device_count, pinned_count;

static void *reserve(Range *ranges, int *count, size_t bytes, int access, int device) {
  size_t length = bytes ? bytes : 1;
  void *start = mmap(0, length, access, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  pthread_mutex_lock(&lock);
  ranges[(*count)++] = (Range){start, length, device};
  pthread_mutex_unlock(&lock);
  return start;
}

static Range release(Range *ranges, int *count, void *start) {
  Range found = {0, 0, 0};
  pthread_mutex_lock(&lock);
  for (int i = 0; i < *count; i++)
    if (ranges[i].start == start) {
      found = ranges[i];
      ranges[i] = ranges[--*count];
      break;
    }
  pthread_mutex_unlock(&lock);
  if (found.start) munmap(found.start, found.bytes);
  return found;
}

/* The device whose memory `p` points to, or of pinned memory 0; -1 for neither. */
static int owner(Range *ranges, int *count, const void *p) {
  int device = -1;
  pthread_mutex_lock(&lock);
  for (int i = 0; i < *count; i++)
    if ((char *)p >= ranges[i].start && (char *)p < ranges[i].start + ranges[i].bytes) device = ranges[i].device;
  pthread_mutex_unlock(&lock);
  return device;
}
static int on_device(const void *p) { return owner(device_ranges, &device_count, p); }
static int is_pinned(const void *p) { return owner(pinned_ranges, &pinned_count, p) >= 0; }

cudaError_t cudaMemGetInfo(size_t *unused, size_t *total) {
  int device = touched();
  *total = capacity(), *unused = *total - state[device].used;
  return cudaSuccess;
}
cudaError_t cudaMalloc(void **start, size_t bytes) {
  int device = touched();
  if (state[device].used + bytes > capacity()) return cudaErrorMemoryAllocation;
  state[device].used += bytes;
  if (state[device].used > state[device].peak) state[device].peak = state[device].used;
  *start = reserve(device_ranges, &device_count, bytes, PROT_NONE, device);
  note(ALLOCATION, "cudaMalloc", bytes);
  return cudaSuccess;
}
cudaError_t cudaFree(void *start) {
  Range freed = release(device_ranges, &device_count, start);
  if (freed.start) state[freed.device].used -= freed.bytes;
  return cudaSuccess;
}
cudaError_t cudaHostAlloc(void **start, size_t bytes, unsigned flags) {
  *start = reserve(pinned_ranges, &pinned_count, bytes, PROT_READ | PROT_WRITE, 0);
  note(PINNED, "cudaHostAlloc", bytes);
  return cudaSuccess;
}
cudaError_t cudaMallocHost(void **start, size_t bytes) { return cudaHostAlloc(start, bytes, 0); }
cudaError_t cudaFreeHost(void *start) { return release(pinned_ranges, &pinned_count, start), 0; }
cudaError_t cudaPointerGetAttributes(struct cudaPointerAttributes *a, const void *p) {
  int device = on_device(p);
  memset(a, 0, sizeof *a);
  a->type = device >= 0 ? cudaMemoryTypeDevice : is_pinned(p) ? cudaMemoryTypeHost : cudaMemoryTypeUnregistered;
  a->devicePointer = device >= 0 ? (void *)p : NULL;
  for (int i = 0; device >= 0 && i < DEVICES; i++)
    if (physical(i) == device) a->device = i;
  return cudaSuccess;
}

/* The small copies since the last kernel. */
#define SMALL 4096
static struct { const char *start; size_t bytes; char content[SMALL]; } small[256];
static int small_count;
static void forget(void) { small_count = 0; }
static void remember(const void *start, const void *content, size_t bytes) {
  if (bytes > SMALL) return;
  pthread_mutex_lock(&lock);
  int i = small_count < 256 ? small_count++ : 255;
  small[i].start = start, small[i].bytes = bytes;
  memcpy(small[i].content, content, bytes);
  pthread_mutex_unlock(&lock);
}
static void recall(void *to, const char *start, size_t bytes) { /* zeros where nothing is known */
  memset(to, 0, bytes);
  pthread_mutex_lock(&lock);
  for (int i = 0; i < small_count; i++) {
    const char *first = start > small[i].start ? start : small[i].start;
    const char *end = start + bytes < small[i].start + small[i].bytes ? start + bytes : small[i].start + small[i].bytes;
    if (first < end) memcpy((char *)to + (first - start), small[i].content + (first - small[i].start), end - first);
  }
  pthread_mutex_unlock(&lock);
}

static cudaError_t copy(void *to, const void *from, size_t bytes) {
  int onto = on_device(to) >= 0, off = on_device(from) >= 0, pinned = is_pinned(onto ? from : to);
  if (off && !onto) recall(to, from, bytes);
  if (!off && !onto) memcpy(to, from, bytes);
  if (onto && !off) remember(to, from, bytes);
  if (onto && off && bytes <= SMALL) {
    char content[SMALL];
    recall(content, from, bytes);
    remember(to, content, bytes);
  }
  note(COPY, onto && off ? "on the device" : onto ? (pinned ? "to, pinned" : "to, pageable")
                 : off ? (pinned ? "from, pinned" : "from, pageable") : "on the host", bytes);
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, enum cudaMemcpyKind k, cudaStream_t s) {
  return copy(to, from, bytes);
}
cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, enum cudaMemcpyKind k) {
  note(WAIT, "cudaMemcpy", 0);
  return copy(to, from, bytes);
}
cudaError_t cudaMemset(void *p, int value, size_t bytes) { return note(FILL, "cudaMemset", bytes), 0; }
cudaError_t cudaMemsetAsync(void *p, int value, size_t bytes, cudaStream_t s) { return cudaMemset(p, value, bytes); }

/* -- streams and events: everything is done as soon as it is asked for */

static long handles = 0x1000;
static void *handle(void) { return touched(), (void *)__sync_add_and_fetch(&handles, 16); }
cudaError_t cudaStreamCreateWithPriority(cudaStream_t *s, unsigned flags, int priority) { return *s = handle(), 0; }
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *s, unsigned flags) { return *s = handle(), 0; }
cudaError_t cudaStreamCreate(cudaStream_t *s) { return *s = handle(), 0; }
cudaError_t cudaStreamGetPriority(cudaStream_t s, int *priority) { return *priority = 0, 0; }
cudaError_t cudaStreamSynchronize(cudaStream_t s) { return note(WAIT, "cudaStreamSynchronize", 0), 0; }
cudaError_t cudaDeviceSynchronize(void) { return note(WAIT, "cudaDeviceSynchronize", 0), 0; }
cudaError_t cudaStreamIsCapturing(cudaStream_t s, enum cudaStreamCaptureStatus *status) { return *status = 0, 0; }
cudaError_t cudaStreamGetCaptureInfo(cudaStream_t s, enum cudaStreamCaptureStatus *status, unsigned long long *id,
                                     cudaGraph_t *g, const cudaGraphNode_t **d, const cudaGraphEdgeData **e,
                                     size_t *n) {
  *status = cudaStreamCaptureStatusNone;
  if (id) *id = 0;
  return cudaSuccess;
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *e, unsigned flags) { return *e = handle(), 0; }
cudaError_t cudaEventCreate(cudaEvent_t *e) { return *e = handle(), 0; }
cudaError_t cudaEventSynchronize(cudaEvent_t e) { return note(WAIT, "cudaEventSynchronize", 0), 0; }
cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t a, cudaEvent_t b) { return *ms = 1, 0; }

/* -- the driver: only what torch asks it for by name */

static int nothing(void) { return 0; }
cudaError_t cudaGetDriverEntryPointByVersion(const char *name, void **found, unsigned version,
                                             unsigned long long flags, enum cudaDriverEntryPointQueryResult *result) {
  void *ours = dlsym(RTLD_DEFAULT, name);
  *found = ours ? ours : (void *)nothing;
  if (result) *result = cudaDriverEntryPointSuccess;
  return cudaSuccess;
}
CUresult cuDevicePrimaryCtxGetState(CUdevice device, unsigned *flags, int *active) {
  int found = physical(device);
  return *flags = 0, *active = found >= 0 && state[found].active, 0;
}
CUresult cuDeviceGet(CUdevice *device, int index) { return *device = index, 0; }
CUresult cuCtxGetCurrent(CUcontext *context) { return *context = (CUcontext)dummy, 0; }
CUresult cuGetErrorString(CUresult error, const char **text) { return *text = "an error of the fake GPU", 0; }

/* -- cuBLAS */

#define CALL(name) int fake_##name(void) __asm__(#name); int fake_##name(void)
#define PRODUCT_CALL(name) CALL(name) { return note(PRODUCT, #name, 0), 0; }
int fake_create(void **handle) __asm__("cublasCreate_v2");
int fake_create(void **handle) { return *handle = dummy, 0; }
int fake_create_lt(void **handle) __asm__("cublasLtCreate");
int fake_create_lt(void **handle) { return *handle = dummy, 0; }
PRODUCT_CALL(cublasSgemm_v2)
PRODUCT_CALL(cublasSgemmEx)
PRODUCT_CALL(cublasGemmEx)
PRODUCT_CALL(cublasGemmStridedBatchedEx)
PRODUCT_CALL(cublasSgemmStridedBatched)
PRODUCT_CALL(cublasSgemv_v2)
PRODUCT_CALL(cublasLtMatmul)
cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t h, cublasLtMatmulDesc_t o, cublasLtMatrixLayout_t a,
                                              cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c,
                                              cublasLtMatrixLayout_t d, cublasLtMatmulPreference_t p, int wanted,
                                              cublasLtMatmulHeuristicResult_t found[], int *count) {
  memset(found, 0, sizeof *found * wanted);
  return *count = 1, 0;
}

/* -- every other function that torch's libraries want of CUDA succeeds and does nothing (gpu_build.py lists them) */

#include "others.inc"
