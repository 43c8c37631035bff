"""CUDA kernels of the hot operations, each beside the lines of NumPy that it replaces (g is df/dy).

A kernel is a template of the type T of numbers and of how many channels V a thread takes at once: four float32, or two
float64, are 16 bytes, the widest load there is, and C must be a multiple of V. All sums run in a fixed order, without
atomic additions, so two runs give equal bits. Threads go through their work in strides of the whole grid.

Shapes: x (N, H, W, C); y and g (N, OH, OW, K), in pooling (N, OH, OW, C); M = N H W.
"""

WINDOWS = """
#define PIXELS int N, int H, int W, int C, int OH, int OW, int KH, int KW, int stride, int padding

/* columns = windows(bordered(x, padding), KH, KW, stride).reshape(N * OH * OW, -1): V channels of a window a thread. */
template<typename T, int V> __global__ void im2col(const T* __restrict__ x, T* __restrict__ columns, PIXELS) {
    const Vec<T, V>* from = (const Vec<T, V>*)x;
    unsigned c_size = C / V;
    FOR_EACH(t, (long long)N * OH * OW * c_size) {
        unsigned c = t % c_size, r = t / c_size;
        Vec<T, V>* to = (Vec<T, V>*)columns + (long long)r * KH * KW * c_size + c;
        int j = r % OW; r /= OW;
        int i = r % OH, n = r / OH;
        for (int u = 0; u < KH; u++) for (int v = 0; v < KW; v++) {
            int h = i * stride + u - padding, w = j * stride + v - padding;
            Vec<T, V> value;
            if (0 <= h && h < H && 0 <= w && w < W) value = from[((long long)(n * H + h) * W + w) * c_size + c];
            else for (int k = 0; k < V; k++) value.at[k] = 0;
            to[(u * KW + v) * c_size] = value;
        }
    }
}

/* dx = inside(scatter(parts, whole.shape, stride), padding), as a gather: V channels of one pixel of x a thread, which
   adds the parts of the windows that hold the pixel, in the order in which `scatter` adds them. */
template<typename T, int V> __global__ void col2im(const T* __restrict__ parts, T* __restrict__ dx, PIXELS) {
    const Vec<T, V>* from = (const Vec<T, V>*)parts;
    unsigned c_size = C / V;
    FOR_EACH(t, (long long)N * H * W * c_size) {
        unsigned c = t % c_size, r = t / c_size;
        int w = r % W; r /= W;
        int h = r % H, n = r / H;
        Vec<T, V> sum;
        for (int k = 0; k < V; k++) sum.at[k] = 0;
        for (int u = 0; u < KH; u++) {
            int y = h + padding - u, i = y / stride;
            if (y < 0 || y % stride || i >= OH) continue;
            for (int v = 0; v < KW; v++) {
                int z = w + padding - v, j = z / stride;
                if (z < 0 || z % stride || j >= OW) continue;
                Vec<T, V> part = from[((((long long)(n * OH + i) * OW + j) * KH + u) * KW + v) * c_size + c];
                for (int k = 0; k < V; k++) sum.at[k] += part.at[k];
            }
        }
        ((Vec<T, V>*)dx)[t] = sum;
    }
}

/* y = X.max(axis=(3, 4)), first = X.reshape(N, OH, OW, KH * KW, C).argmax(axis=3), X the windows of x inside of -inf.
   (NaN, the first of which argmax takes, is above everything.) */
template<typename T> __global__ void max_pool(
    const T* __restrict__ x, T* __restrict__ y, int* __restrict__ first, PIXELS) {
    FOR_EACH(t, (long long)N * OH * OW * C) {
        unsigned c = t % C, r = t / C;
        int j = r % OW; r /= OW;
        int i = r % OH, n = r / OH, at = -1;
        T largest = 0;
        for (int u = 0; u < KH; u++) for (int v = 0; v < KW; v++) {
            int h = i * stride + u - padding, w = j * stride + v - padding;
            if (h < 0 || h >= H || w < 0 || w >= W) continue;
            T value = x[((long long)(n * H + h) * W + w) * C + c];
            if (at < 0 || value > largest || (value != value && largest == largest)) {
                largest = value;
                at = u * KW + v;
            }
        }
        y[t] = largest;
        first[t] = at;
    }
}

/* y = X.mean(axis=(3, 4)) of the windows X of x. */
template<typename T> __global__ void mean_pool(const T* __restrict__ x, T* __restrict__ y, PIXELS) {
    FOR_EACH(t, (long long)N * OH * OW * C) {
        unsigned c = t % C, r = t / C;
        int j = r % OW; r /= OW;
        int i = r % OH, n = r / OH;
        T sum = 0;
        for (int u = 0; u < KH; u++) for (int v = 0; v < KW; v++)
            sum += x[((long long)(n * H + i * stride + u) * W + j * stride + v) * C + c];
        y[t] = sum / (KH * KW);
    }
}

/* dx = scatter(parts): each pixel of x adds what the windows that hold it send back, in the order of `scatter`. */
template<typename T, class Part> __device__ void gather(T* __restrict__ dx, Part part, PIXELS) {
    FOR_EACH(t, (long long)N * H * W * C) {
        unsigned c = t % C, r = t / C;
        int w = r % W; r /= W;
        int h = r % H, n = r / H;
        T sum = 0;
        for (int u = 0; u < KH; u++) for (int v = 0; v < KW; v++) {
            int y = h + padding - u, z = w + padding - v, i = y / stride, j = z / stride;
            if (y < 0 || y % stride || i >= OH || z < 0 || z % stride || j >= OW) continue;
            long long place = ((long long)(n * OH + i) * OW + j) * C + c;
            sum += part(place, u * KW + v);
        }
        dx[t] = sum;
    }
}

/* parts = where(arange(KH * KW) == first, g, 0) */
template<typename T> __global__ void max_pool_gradient(
    const T* __restrict__ g, const int* __restrict__ first, T* __restrict__ dx, PIXELS) {
    gather(dx, [=](long long place, int k) { return first[place] == k ? g[place] : 0; },
           N, H, W, C, OH, OW, KH, KW, stride, padding);
}

/* parts = broadcast_to(g / (KH * KW), X.shape) */
template<typename T> __global__ void mean_pool_gradient(const T* __restrict__ g, T* __restrict__ dx, PIXELS) {
    gather(dx, [=](long long place, int) { return g[place] / (KH * KW); },
           N, H, W, C, OH, OW, KH, KW, stride, padding);
}
"""

LOSS = """
/* loss[n] = -log p[n, labels[n]] / N and dz = (p - onehot) / N, p = softmax(z) of a row z (K,): a block for each row,
   which holds its largest element, then its sum. */
template<typename T> __global__ void softmax_cross_entropy(
    const T* __restrict__ z, const long long* __restrict__ labels, T* __restrict__ dz, T* __restrict__ loss,
    int N, int K) {
    __shared__ T held[256];
    int row = blockIdx.x, me = threadIdx.x;
    T largest = z[(long long)row * K];
    for (int k = me; k < K; k += 256) { T a = z[(long long)row * K + k]; if (a > largest || a != a) largest = a; }
    held[me] = largest;
    for (int half = 128; half > 0; half /= 2) {
        __syncthreads();
        if (me < half && (held[me + half] > held[me] || held[me + half] != held[me + half])) held[me] = held[me + half];
    }
    __syncthreads();
    largest = held[0];
    __syncthreads();
    T sum = 0;
    for (int k = me; k < K; k += 256) sum += exp(z[(long long)row * K + k] - largest);
    held[me] = sum;
    for (int half = 128; half > 0; half /= 2) {
        __syncthreads();
        if (me < half) held[me] += held[me + half];
    }
    __syncthreads();
    T log_sum = log(held[0]);
    for (int k = me; k < K; k += 256) {
        T log_p = z[(long long)row * K + k] - largest - log_sum;
        bool mine = k == labels[row];
        dz[(long long)row * K + k] = (exp(log_p) - (mine ? 1 : 0)) / N;
        if (mine) loss[row] = -log_p / N;
    }
}
"""
