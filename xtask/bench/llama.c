// What `cargo xtask bench llama` and `judge` ask of llama.cpp, through its C API alone. Prints `key value` lines.
//
//   llama speed MODEL THREADS               the same steps as `--example bench -- MODEL compare THREADS`
//   llama more MODEL THREADS                the same steps as `--example bench -- MODEL more THREADS`
//   llama perplexity MODEL IDS CONTEXT THREADS
//   llama greedy MODEL IDS COUNT THREADS    the ids chosen, on one line
//   llama sample MODEL IDS COUNT MILLI SEED  the ids drawn at a temperature in thousandths (0: greedy), on one line
//   llama tokenize MODEL TEXT IDS MAX       at most MAX ids of a text file
//   llama quantize IN OUT q4_0|q8_0
//   llama logits MODEL IDS OUT              32-bit floats after every id, all ids in one batch
//
// IDS are files of little-endian 32-bit token ids. LIBRARIES, the folder of llama.cpp's shared
// libraries, is given by the compiler's command line: ggml picks the CPU variant from there at run time.

#include "ggml-backend.h"
#include "ggml-cpu.h"
#include "llama.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BATCH = 512, PREFILL = 512, PROMPT = 16, DECODE = 128, LONG = 4000, REPEATS = 3, LINE_MAX = 4096 };

// A model on the CPU with one sequence.
struct engine {
    struct llama_model * model;
    struct llama_context * context;
    int vocabulary;
};

static void fail(const char * format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(1);
}

static void * allocate(size_t count, size_t size) {
    void * memory = calloc(count, size);
    if (!memory) fail("out of memory");
    return memory;
}

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double) now.tv_sec + (double) now.tv_nsec * 1e-9;
}

static void log_errors(enum ggml_log_level level, const char * text, void * data) {
    (void) data;
    if (level == GGML_LOG_LEVEL_ERROR) fputs(text, stderr);
}

// The whole file, with a zero byte behind it.
static char * read_file(const char * path, size_t * size) {
    FILE * file = fopen(path, "rb");
    if (!file) fail("cannot open %s", path);
    fseek(file, 0, SEEK_END);
    *size = (size_t) ftell(file);
    rewind(file);
    char * bytes = allocate(*size + 1, 1);
    if (fread(bytes, 1, *size, file) != *size) fail("cannot read %s", path);
    fclose(file);
    return bytes;
}

static llama_token * read_ids(const char * path, int * count) {
    size_t size;
    llama_token * ids = (llama_token *) read_file(path, &size);
    *count = (int) (size / sizeof *ids);
    return ids;
}

static struct llama_model * load(const char * path, bool vocab_only) {
    struct llama_model_params params = llama_model_default_params();
    params.n_gpu_layers = 0;
    params.vocab_only = vocab_only;
    struct llama_model * model = llama_model_load_from_file(path, params);
    if (!model) fail("llama.cpp does not load %s", path);
    return model;
}

// `outputs`: positions of one batch whose logits may be asked for; more would only cost memory.
// `streams`: sequences, each with its part of the context.
static struct engine start_many(const char * path, int context, int outputs, int streams, int threads) {
    struct engine engine = { .model = load(path, false) };
    struct llama_context_params params = llama_context_default_params();
    params.n_ctx = (uint32_t) context;
    params.n_batch = BATCH;
    params.n_ubatch = BATCH;
    params.n_outputs_max = (uint32_t) outputs;
    params.n_seq_max = (uint32_t) streams;
    params.kv_unified = false;
    params.n_threads = threads;
    params.n_threads_batch = threads;
    params.type_k = GGML_TYPE_F16;
    params.type_v = GGML_TYPE_F16;
    engine.context = llama_init_from_model(engine.model, params);
    if (!engine.context) fail("llama.cpp makes no context of %d", context);
    engine.vocabulary = llama_vocab_n_tokens(llama_model_get_vocab(engine.model));

    // A lasting pool of threads, as llama-bench has; without it every pass would start its own.
    ggml_backend_reg_t cpu = ggml_backend_dev_backend_reg(ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU));
    ggml_threadpool_t (*pool)(struct ggml_threadpool_params *) =
        (ggml_threadpool_t (*)(struct ggml_threadpool_params *)) ggml_backend_reg_get_proc_address(
            cpu, "ggml_threadpool_new");
    if (!pool) fail("the CPU back-end has no pool of threads");
    struct ggml_threadpool_params pool_params = ggml_threadpool_params_default(threads);
    llama_attach_threadpool(engine.context, pool(&pool_params), NULL);
    return engine;
}

static struct engine start(const char * path, int context, int outputs, int threads) {
    return start_many(path, context, outputs, 1, threads);
}

// Runs `count` tokens (at most BATCH) from where the context stands; the last one's logits are ready then.
static void advance(const struct engine * engine, llama_token * tokens, int count) {
    if (llama_decode(engine->context, llama_batch_get_one(tokens, count)) != 0) fail("llama_decode failed");
}

static void reset(const struct engine * engine) {
    llama_memory_clear(llama_get_memory(engine->context), true);
}

// `row`: of the last batch; -1 is the last.
static llama_token likeliest_of(const struct engine * engine, int row) {
    const float * logits = llama_get_logits_ith(engine->context, row);
    int best = 0;
    for (int i = 1; i < engine->vocabulary; i++) {
        if (logits[i] > logits[best]) best = i;
    }
    return best;
}

static llama_token likeliest(const struct engine * engine) {
    return likeliest_of(engine, -1);
}

static int by_size(const void * a, const void * b) {
    double x = *(const double *) a, y = *(const double *) b;
    return (x > y) - (x < y);
}

static double median(double * values, int count) {
    qsort(values, (size_t) count, sizeof *values, by_size);
    return values[count / 2];
}

// The variant of the CPU back-end that was loaded, by its file's name.
static void print_backend(void) {
    FILE * maps = fopen("/proc/self/maps", "r");
    char line[LINE_MAX];
    while (maps && fgets(line, sizeof line, maps)) {
        char * name = strstr(line, "libggml-cpu");
        if (name) {
            printf("backend %s", name);
            break;
        }
    }
    if (maps) fclose(maps);
    printf("system %s\n", llama_print_system_info());
}

static void print_peak(void) {
    FILE * status = fopen("/proc/self/status", "r");
    char line[LINE_MAX];
    long kib = 0;
    while (status && fgets(line, sizeof line, status)) {
        if (sscanf(line, "VmHWM: %ld", &kib) == 1) break;
    }
    if (status) fclose(status);
    printf("peak_kib %ld\n", kib);
}

static void speed(const char * path, int threads, double started) {
    struct engine engine = start(path, 2 * PREFILL, 1, threads);
    llama_token ids[PREFILL];
    for (int i = 0; i < PREFILL; i++) ids[i] = (i * 7919 + 13) % 40000;
    advance(&engine, ids, PROMPT);
    likeliest(&engine);
    printf("first_token_seconds %.4f\n", seconds() - started);

    double prefill[REPEATS], decode[REPEATS];
    for (int r = 0; r < REPEATS; r++) {
        reset(&engine);
        double begin = seconds();
        advance(&engine, ids, PREFILL);
        likeliest(&engine);
        prefill[r] = PREFILL / (seconds() - begin);

        reset(&engine);
        advance(&engine, ids, PROMPT);
        llama_token token = likeliest(&engine);
        begin = seconds();
        for (int i = 0; i < DECODE; i++) {
            advance(&engine, &token, 1);
            token = likeliest(&engine);
        }
        decode[r] = DECODE / (seconds() - begin);
    }
    printf("prefill_tps %.2f\n", median(prefill, REPEATS));
    printf("decode_tps %.2f\n", median(decode, REPEATS));
    print_peak();
    print_backend();
}

// Decode after LONG tokens: tokens per second.
static double decode_long(const char * path, int threads) {
    struct engine engine = start(path, LONG + 2 * DECODE, 1, threads);
    llama_token ids[LONG];
    for (int i = 0; i < LONG; i++) ids[i] = (i * 7919 + 13) % 40000;
    for (int i = 0; i < LONG; i += BATCH) advance(&engine, ids + i, LONG - i < BATCH ? LONG - i : BATCH);
    llama_token token = likeliest(&engine);
    double begin = seconds();
    for (int i = 0; i < DECODE; i++) {
        advance(&engine, &token, 1);
        token = likeliest(&engine);
    }
    return DECODE / (seconds() - begin);
}

// The next token of every stream in one batch; all at the same position.
static void step(const struct engine * engine, struct llama_batch * batch, llama_token * tokens, int position) {
    for (int s = 0; s < batch->n_tokens; s++) {
        batch->token[s] = tokens[s];
        batch->pos[s] = position;
        batch->n_seq_id[s] = 1;
        batch->seq_id[s][0] = s;
        batch->logits[s] = 1;
    }
    if (llama_decode(engine->context, *batch) != 0) fail("llama_decode failed");
    for (int s = 0; s < batch->n_tokens; s++) tokens[s] = likeliest_of(engine, s);
}

// Decode of several streams at once, prompts apart: tokens per second over all of them.
static double decode_streams(const char * path, int streams, int threads) {
    struct engine engine = start_many(path, streams * 2 * DECODE, streams, streams, threads);
    struct llama_batch batch = llama_batch_init(streams, 0, 1);
    batch.n_tokens = streams;
    llama_token * tokens = allocate((size_t) streams, sizeof *tokens);
    for (int i = 0; i < PROMPT; i++) {
        for (int s = 0; s < streams; s++) tokens[s] = (i * 7919 + 13) % 40000;
        step(&engine, &batch, tokens, i);
    }
    double begin = seconds();
    // The first output token came with the prompt.
    for (int i = 0; i + 1 < DECODE; i++) step(&engine, &batch, tokens, PROMPT + i);
    return streams * (DECODE - 1) / (seconds() - begin);
}

static void more(const char * path, int threads) {
    printf("long_tps %.2f\n", decode_long(path, threads));
    printf("streams8_tps %.2f\n", decode_streams(path, 8, threads));
    printf("streams32_tps %.2f\n", decode_streams(path, 32, threads));
}

// Negative log of the probability of `token`.
static double loss(const float * logits, int vocabulary, llama_token token) {
    float largest = logits[0];
    for (int i = 1; i < vocabulary; i++) largest = fmaxf(largest, logits[i]);
    double sum = 0;
    for (int i = 0; i < vocabulary; i++) sum += exp((double) logits[i] - largest);
    return log(sum) - ((double) logits[token] - largest);
}

// Runs all of `count` ids from an empty context on; every position's logits are ready then.
static void score(const struct engine * engine, const llama_token * ids, int count) {
    struct llama_batch batch = llama_batch_init(count, 0, 1);
    batch.n_tokens = count;
    for (int i = 0; i < count; i++) {
        batch.token[i] = ids[i];
        batch.pos[i] = i;
        batch.n_seq_id[i] = 1;
        batch.seq_id[i][0] = 0;
        batch.logits[i] = 1;
    }
    reset(engine);
    if (llama_decode(engine->context, batch) != 0) fail("llama_decode failed");
    llama_batch_free(batch);
}

static void perplexity(const char * path, const char * ids_path, int context, int threads) {
    if (context < 2 || context > BATCH) fail("contexts are of 2 to %d tokens", BATCH);
    struct engine engine = start(path, context, context, threads);
    int count;
    llama_token * ids = read_ids(ids_path, &count);
    double total = 0;
    int scored = 0;
    for (int first = 0; first + context <= count; first += context) {
        score(&engine, ids + first, context);
        for (int i = 0; i + 1 < context; i++, scored++) {
            total += loss(llama_get_logits_ith(engine.context, i), engine.vocabulary, ids[first + i + 1]);
        }
    }
    printf("scored %d\nperplexity %.4f\n", scored, exp(total / scored));
}

static void logits(const char * path, const char * ids_path, const char * out_path) {
    int count;
    llama_token * ids = read_ids(ids_path, &count);
    if (count < 1 || count > BATCH) fail("1 to %d ids are scored at once", BATCH);
    struct engine engine = start(path, count, count, 1);
    score(&engine, ids, count);
    FILE * out = fopen(out_path, "wb");
    if (!out) fail("cannot write %s", out_path);
    for (int i = 0; i < count; i++) {
        size_t width = (size_t) engine.vocabulary;
        if (fwrite(llama_get_logits_ith(engine.context, i), sizeof(float), width, out) != width) fail("no room");
    }
    if (fclose(out) != 0) fail("cannot write %s", out_path);
    printf("count %d\n", count);
}

static void greedy(const char * path, const char * ids_path, int tokens, int threads) {
    int count;
    llama_token * ids = read_ids(ids_path, &count);
    if (count < 1 || count > BATCH) fail("a prompt is of 1 to %d tokens", BATCH);
    struct engine engine = start(path, count + tokens, 1, threads);
    advance(&engine, ids, count);
    printf("tokens");
    for (int i = 0; i < tokens; i++) {
        llama_token token = likeliest(&engine);
        printf(" %d", token);
        advance(&engine, &token, 1);
    }
    printf("\n");
}

// The softmax of the logits at a temperature, and one draw of it; no other filter.
static void sample(const char * path, const char * ids_path, int tokens, int milli, int seed) {
    int count;
    llama_token * ids = read_ids(ids_path, &count);
    if (count < 1 || count > BATCH) fail("a prompt is of 1 to %d tokens", BATCH);
    struct engine engine = start(path, count + tokens, 1, 1);
    srand48(seed);
    advance(&engine, ids, count);
    printf("tokens");
    for (int i = 0; i < tokens; i++) {
        llama_token token = likeliest(&engine);
        const float * logits = llama_get_logits_ith(engine.context, -1);
        double total = 0, largest = logits[token], scale = milli / 1000.0;
        for (int t = 0; milli > 0 && t < engine.vocabulary; t++) total += exp((logits[t] - largest) / scale);
        double left = drand48() * total;
        for (int t = 0; milli > 0 && t < engine.vocabulary; t++) {
            left -= exp((logits[t] - largest) / scale);
            if (left <= 0) {
                token = t;
                break;
            }
        }
        printf(" %d", token);
        advance(&engine, &token, 1);
    }
    printf("\n");
}

static void tokenize(const char * path, const char * text_path, const char * ids_path, int max) {
    size_t size;
    char * text = read_file(text_path, &size);
    llama_token * ids = allocate(size, sizeof *ids);
    const struct llama_vocab * vocabulary = llama_model_get_vocab(load(path, true));
    int count = llama_tokenize(vocabulary, text, (int) size, ids, (int) size, false, true);
    if (count < 0) fail("llama.cpp cannot tokenize %s", text_path);
    size_t kept = (size_t) (count < max ? count : max);
    FILE * out = fopen(ids_path, "wb");
    if (!out || fwrite(ids, sizeof *ids, kept, out) != kept || fclose(out) != 0) fail("cannot write %s", ids_path);
    printf("count %zu\n", kept);
}

static void quantize(const char * from, const char * to, const char * kind) {
    struct llama_model_quantize_params params = llama_model_quantize_default_params();
    params.ftype = strcmp(kind, "q8_0") == 0 ? LLAMA_FTYPE_MOSTLY_Q8_0 : LLAMA_FTYPE_MOSTLY_Q4_0;
    params.allow_requantize = true;
    if (llama_model_quantize(from, to, &params) != 0) fail("llama.cpp cannot make %s of %s", kind, from);
}

int main(int count, char ** arguments) {
    double started = seconds();
    llama_log_set(log_errors, NULL);
    ggml_backend_load_all_from_path(LIBRARIES);
    const char * mode = count > 3 ? arguments[1] : "";
    if (count == 4 && strcmp(mode, "speed") == 0) {
        speed(arguments[2], atoi(arguments[3]), started);
    } else if (count == 4 && strcmp(mode, "more") == 0) {
        more(arguments[2], atoi(arguments[3]));
    } else if (count == 6 && strcmp(mode, "perplexity") == 0) {
        perplexity(arguments[2], arguments[3], atoi(arguments[4]), atoi(arguments[5]));
    } else if (count == 6 && strcmp(mode, "greedy") == 0) {
        greedy(arguments[2], arguments[3], atoi(arguments[4]), atoi(arguments[5]));
    } else if (count == 7 && strcmp(mode, "sample") == 0) {
        sample(arguments[2], arguments[3], atoi(arguments[4]), atoi(arguments[5]), atoi(arguments[6]));
    } else if (count == 6 && strcmp(mode, "tokenize") == 0) {
        tokenize(arguments[2], arguments[3], arguments[4], atoi(arguments[5]));
    } else if (count == 5 && strcmp(mode, "quantize") == 0) {
        quantize(arguments[2], arguments[3], arguments[4]);
    } else if (count == 5 && strcmp(mode, "logits") == 0) {
        logits(arguments[2], arguments[3], arguments[4]);
    } else {
        fail("the modes stand at the top of llama.c");
    }
    return 0;
}
