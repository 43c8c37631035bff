"""CUDA kernels of batch norm with ReLU and the sum of a residual block, beside the lines of NumPy that they replace.

Forward, one pass for the statistics and one for y; backward, one for two sums and one for dx. A pass of sums is shared
by blocks, whose sums a second kernel adds in order; all of them are float64. As in `kernels`, a thread takes V channels
at once. x, y and g are seen as (M, C); P is the number of blocks that share a pass of sums.
"""

NORM = """
/* Sums over the lanes of a block, which are `width` threads apart, width a power of 2: they end in the first lane. */
template<int K> __device__ void add_lanes(double (&mine)[K], int width) {
    __shared__ double sums[256 * K];
    for (int k = 0; k < K; k++) sums[k * 256 + threadIdx.x] = mine[k];
    for (int half = 128; half >= width; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half)
            for (int k = 0; k < K; k++) sums[k * 256 + threadIdx.x] += sums[k * 256 + threadIdx.x + half];
    }
    for (int k = 0; k < K; k++) mine[k] = sums[k * 256 + threadIdx.x];
}

/* parts[b] = (sum(p, axis=0), sum(q, axis=0)) over the share of block b of the M rows of an (M, C); pair(m C + c, c)
   gives V of (p, q). */
template<int V, class Pair> __device__ void two_sums(Pair pair, double* __restrict__ parts, int M, int C, int width) {
    int lane = threadIdx.x / width, lanes = 256 / width, c = (blockIdx.y * width + threadIdx.x % width) * V;
    double sums[2 * V];
    for (int k = 0; k < 2 * V; k++) sums[k] = 0;
    if (c < C) for (int m = blockIdx.x * lanes + lane; m < M; m += gridDim.x * lanes)
        pair((long long)m * C + c, c, sums);
    add_lanes(sums, width);
    if (lane == 0 && c < C) for (int k = 0; k < V; k++) {
        parts[(blockIdx.x * 2LL + 0) * C + c + k] = sums[k];
        parts[(blockIdx.x * 2LL + 1) * C + c + k] = sums[V + k];
    }
}

/* p = x - x[0], q = p * p */
template<typename T, int V> __global__ void deviation_sums(
    const T* __restrict__ x, double* __restrict__ parts, int M, int C, int width) {
    two_sums<V>([=](long long place, int c, double* sums) {
        Vec<T, V> a = *(const Vec<T, V>*)(x + place), near = *(const Vec<T, V>*)(x + c);
        for (int k = 0; k < V; k++) {
            double p = (double)a.at[k] - near.at[k];
            sums[k] += p;
            sums[V + k] += p * p;
        }
    }, parts, M, C, width);
}

/* p = g * (y > 0), or g without ReLU, q = p * (x - mean) */
template<typename T, int V> __global__ void gradient_sums(
    const T* __restrict__ x, const T* __restrict__ g, const T* __restrict__ y, const double* __restrict__ mean,
    double* __restrict__ parts, int M, int C, int width, int relu) {
    two_sums<V>([=](long long place, int c, double* sums) {
        Vec<T, V> a = *(const Vec<T, V>*)(x + place), b = *(const Vec<T, V>*)(g + place), z;
        if (relu) z = *(const Vec<T, V>*)(y + place);
        for (int k = 0; k < V; k++) {
            double p = relu && !(z.at[k] > 0) ? 0.0 : (double)b.at[k];
            sums[k] += p;
            sums[V + k] += p * (a.at[k] - mean[c + k]);
        }
    }, parts, M, C, width);
}

/* mean = x[0] + s / M, variance = q / M - (s / M)**2 and statistics = (mean, 1 / sqrt(variance + eps)) in float64,
   where (s, q) = parts.sum(axis=0): nothing cancels unless x[0] is a million deviations away from the mean. */
template<typename T> __global__ void finish_statistics(
    const double* __restrict__ parts, const T* __restrict__ x, double* __restrict__ statistics,
    T* __restrict__ mean, T* __restrict__ variance, int P, int M, int C, double eps) {
    int c = blockIdx.x * 32 + threadIdx.x % 32;
    double sums[2] = {0, 0};
    if (c < C) for (int p = threadIdx.x / 32; p < P; p += 8)
        for (int k = 0; k < 2; k++) sums[k] += parts[(p * 2LL + k) * C + c];
    add_lanes(sums, 32);
    if (threadIdx.x / 32 == 0 && c < C) {
        double away = sums[0] / M, v = fmax(sums[1] / M - away * away, 0.0);
        statistics[c] = x[c] + away;
        statistics[C + c] = 1 / sqrt(v + eps);
        mean[c] = (T)statistics[c];
        variance[c] = (T)v;
    }
}

/* sums = (sum(p), sum(q) / deviation) = (dbeta, dgamma), in float64 and as T. */
template<typename T> __global__ void finish_gradients(
    const double* __restrict__ parts, const double* __restrict__ statistics, double* __restrict__ sums_of_g,
    T* __restrict__ dgamma, T* __restrict__ dbeta, int P, int C) {
    int c = blockIdx.x * 32 + threadIdx.x % 32;
    double sums[2] = {0, 0};
    if (c < C) for (int p = threadIdx.x / 32; p < P; p += 8)
        for (int k = 0; k < 2; k++) sums[k] += parts[(p * 2LL + k) * C + c];
    add_lanes(sums, 32);
    if (threadIdx.x / 32 == 0 && c < C) {
        sums_of_g[c] = sums[0];
        sums_of_g[C + c] = sums[1] * statistics[C + c];
        dbeta[c] = (T)sums_of_g[c];
        dgamma[c] = (T)sums_of_g[C + c];
    }
}

/* y = maximum((x - mean) / deviation * gamma + beta + plus, 0), without maximum or plus if not asked for. */
template<typename T, int V> __global__ void normalise(
    const T* __restrict__ x, const T* __restrict__ plus, const double* __restrict__ statistics,
    const T* __restrict__ gamma, const T* __restrict__ beta, T* __restrict__ y, int M, int C, int relu, int add) {
    unsigned c_size = C / V;
    FOR_EACH(t, (long long)M * c_size) {
        int c = t % c_size * V;
        Vec<T, V> a = ((const Vec<T, V>*)x)[t], b;
        if (add) b = ((const Vec<T, V>*)plus)[t];
        for (int k = 0; k < V; k++) {
            T x_hat = (T)((a.at[k] - statistics[c + k]) * statistics[C + c + k]);
            T value = x_hat * gamma[c + k] + beta[c + k];
            if (add) value += b.at[k];
            a.at[k] = relu && value <= 0 ? 0 : value;
        }
        ((Vec<T, V>*)y)[t] = a;
    }
}

/* G = g * (y > 0); dx = gamma / deviation * (G - mean(G) - x_hat * mean(G * x_hat)), the means by `share` = 1 / M, or 0
   where statistics were given; and dplus = G, if asked for. */
template<typename T, int V> __global__ void normalise_gradient(
    const T* __restrict__ x, const T* __restrict__ g, const T* __restrict__ y, const double* __restrict__ statistics,
    const double* __restrict__ sums_of_g, const T* __restrict__ gamma, T* __restrict__ dx, T* __restrict__ dplus,
    int M, int C, int relu, int add, double share) {
    unsigned c_size = C / V;
    FOR_EACH(t, (long long)M * c_size) {
        int c = t % c_size * V;
        Vec<T, V> a = ((const Vec<T, V>*)x)[t], b = ((const Vec<T, V>*)g)[t], z;
        if (relu) z = ((const Vec<T, V>*)y)[t];
        for (int k = 0; k < V; k++) {
            if (relu && !(z.at[k] > 0)) b.at[k] = 0;
            T x_hat = (T)((a.at[k] - statistics[c + k]) * statistics[C + c + k]);
            T slope = (T)(gamma[c + k] * statistics[C + c + k]);
            a.at[k] = slope * (b.at[k] - (T)(sums_of_g[c + k] * share) - x_hat * (T)(sums_of_g[C + c + k] * share));
        }
        ((Vec<T, V>*)dx)[t] = a;
        if (add) ((Vec<T, V>*)dplus)[t] = b;
    }
}
"""
