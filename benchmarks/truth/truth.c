// truth: an OpenAI-compatible chat server whose timing is known, to measure load generators against.
// One epoll thread. Every request gets its first token TTFT after its last byte arrived and one more
// every ITL; what really happened on the server's side goes to a binary log, a row a request:
//   int64 request, arrived_ns, first_ns, first_out_ns, last_ns; int32 tokens, prompt, conn, stream
// first_ns is taken before the first token is handed to the socket and first_out_ns when the kernel has it: a client's
// stamp of its arrival lies between them, however long this thread was kept from running in the middle. prompt is what
// usage says of the request's prompt, stream is 1 for a streamed answer.
// request is the number that X-Request-ID ends in (3f2a9c-000123 is 123), -1 without one. Scheduling is on
// CLOCK_MONOTONIC; the stamps of the log are CLOCK_REALTIME, by the two clocks' offset when the request had
// arrived, so that they compare with a client's kernel receive stamps and a clock step bends no duration.
// arrived is the kernel's stamp of the request's last segment: being late itself is part of truth's own TTFT.
// Out of descriptors, it accepts no more until a connection is closed, and says so once.
// usage counts words, so a prompt of n words is n tokens, whatever the template
// build: cc -O2 -o truth truth.c      run: ./truth --port 9000 --ttft-us 20000 --itl-us 5000 --tokens 32 --log t.bin
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

typedef struct { int64_t request, arrived, first, out, last; int32_t tokens, prompt, conn, stream; } Row;
typedef struct Conn {
  int fd; uint32_t id; int heap;               // heap index, -1 when none
  char *in; size_t in_len, in_cap;
  char *out; size_t out_len, out_cap;          // unsent bytes
  int busy, stream, left, sent, usage; int64_t due, ahead, heard; Row row; int prompt_words;
} Conn;

static int64_t ttft_us = 20000, itl_us = 5000; static int def_tokens = 32; static int port = 9000;
static FILE *logf_; static int ep; static uint32_t next_id; static volatile int stop_;
static Conn **heap; static int heap_n, heap_cap;
static uint64_t total; static int live, peak, listener, deaf;   // deaf: the listener is out of epoll

static int64_t clock_ns(clockid_t k) { struct timespec t; clock_gettime(k, &t); return t.tv_sec * 1000000000LL + t.tv_nsec; }
static int64_t now_ns(void) { return clock_ns(CLOCK_MONOTONIC); }
static int64_t ahead_ns(void) {                 // REALTIME - MONOTONIC; a look that was interrupted is repeated, the tightest counts
  int64_t tight = INT64_MAX, ahead = 0;
  for (int i = 0; i < 4 && tight > 1000; i++) { int64_t a = now_ns(), r = clock_ns(CLOCK_REALTIME), b = now_ns(); if (b - a < tight) { tight = b - a; ahead = r - (a + b) / 2; } }
  return ahead;
}
static void put(int i, Conn *c) { heap[i] = c; c->heap = i; }
static void up(int i) { Conn *c = heap[i]; while (i > 0 && heap[(i-1)/2]->due > c->due) { put(i, heap[(i-1)/2]); i = (i-1)/2; } put(i, c); }
static void down(int i) { Conn *c = heap[i]; for (;;) { int k = 2*i+1; if (k >= heap_n) break; if (k+1 < heap_n && heap[k+1]->due < heap[k]->due) k++; if (heap[k]->due >= c->due) break; put(i, heap[k]); i = k; } put(i, c); }
static void schedule(Conn *c, int64_t due) {
  c->due = due;
  if (c->heap < 0) { if (heap_n == heap_cap) heap = realloc(heap, sizeof *heap * (heap_cap = heap_cap ? heap_cap*2 : 1024)); put(heap_n++, c); up(c->heap); }
  else { up(c->heap); down(c->heap); }
}
static void unschedule(Conn *c) { if (c->heap < 0) return; int i = c->heap; c->heap = -1; Conn *last = heap[--heap_n]; if (last != c) { put(i, last); up(i); down(last->heap); } }
static void hear(int on) { struct epoll_event e = {.events = EPOLLIN, .data.ptr = 0}; epoll_ctl(ep, on ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, listener, &e); deaf = !on; }
static void drop(Conn *c) { unschedule(c); close(c->fd); free(c->in); free(c->out); free(c); live--; if (deaf) hear(1); }
static void want(Conn *c, int w) { struct epoll_event e = {.events = EPOLLIN | (w ? EPOLLOUT : 0), .data.ptr = c}; epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &e); }
static int flush(Conn *c) {
  while (c->out_len) {
    ssize_t n = send(c->fd, c->out, c->out_len, MSG_NOSIGNAL);
    if (n < 0) { if (errno == EAGAIN) { want(c, 1); return 0; } return -1; }
    memmove(c->out, c->out + n, c->out_len - n); c->out_len -= n;
    if (!c->out_len) want(c, 0);
  }
  return 0;
}
static int say(Conn *c, const char *s, size_t n) {
  if (!c->out_len) { ssize_t k = send(c->fd, s, n, MSG_NOSIGNAL); if (k == (ssize_t)n) return 0; if (k < 0 && errno != EAGAIN) return -1; if (k > 0) { s += k; n -= k; } want(c, 1); }
  if (c->out_len + n > c->out_cap) c->out = realloc(c->out, c->out_cap = (c->out_len + n) * 2);
  memcpy(c->out + c->out_len, s, n); c->out_len += n; return 0;
}
static const char *find(const char *h, size_t n, const char *k) { return memmem(h, n, k, strlen(k)); }
// words of the prompt: a space between two characters that are not JSON punctuation, plus one
static int words(const char *b, size_t n) { int w = 1; const char *p = b + 1, *end = b + n - 1; if (n > 2) for (; p < end && (p = memchr(p, ' ', end - p)); p++) if (!strchr(":,{}[]\"", p[-1]) && !strchr("{}[]\" ", p[1])) w++; return w; }
// the framing of a chunked body taken out, in place: its new length
static size_t unchunk(char *b, size_t n) { size_t at = 0, to = 0; while (at < n) { char *e; long k = strtol(b + at, &e, 16); char *nl = memchr(e, '\n', b + n - e); if (k <= 0 || !nl || nl + 1 - b + (size_t)k > n) break; memmove(b + to, nl + 1, k); to += k; at = nl + 1 - b + k + 2; } return to; }
static long num_after(const char *h, size_t n, const char *k, long d) { const char *p = find(h, n, k); if (!p) return d; p += strlen(k); while (p < h+n && (*p == ' ' || *p == ':' || *p == '"')) p++; return p < h+n && *p >= '0' && *p <= '9' ? strtol(p, 0, 10) : d; }
// the number that ends a header's value, -1 if none does
static int64_t number(const char *v) { const char *e = v + strcspn(v, "\r\n"), *b; while (e > v && (e[-1] == ' ' || e[-1] == '\t')) e--; for (b = e; b > v && b[-1] >= '0' && b[-1] <= '9';) b--; return b < e ? strtoll(b, 0, 10) : -1; }
static void finish(Conn *c) { c->row.arrived += c->ahead; c->row.first += c->ahead; c->row.out += c->ahead; c->row.last += c->ahead; c->row.prompt = c->prompt_words; c->row.stream = c->stream; c->busy = 0; unschedule(c); if (logf_) fwrite(&c->row, sizeof c->row, 1, logf_); total++; }

static int chunk(Conn *c) {                     // one token, or the end
  char body[512], buf[1024]; int n, m; int64_t t = now_ns();
  int last = c->sent + 1 >= c->left;
  n = snprintf(body, sizeof body, "data: {\"id\":\"cmpl-%d\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"truth\",\"choices\":[{\"index\":0,\"delta\":{%s\"content\":\" word\"},\"finish_reason\":%s}]}\n\n", c->row.conn, c->sent ? "" : "\"role\":\"assistant\",", last ? "\"length\"" : "null");
  m = snprintf(buf, sizeof buf, "%x\r\n%s\r\n", n, body);
  if (!c->sent) c->row.first = t;
  c->row.last = t; c->sent++; c->row.tokens = c->sent;
  if (last) {
    if (c->usage) { n = snprintf(body, sizeof body, "data: {\"id\":\"cmpl-%d\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"truth\",\"choices\":[],\"usage\":{\"prompt_tokens\":%d,\"completion_tokens\":%d,\"total_tokens\":%d}}\n\n", c->row.conn, c->prompt_words, c->sent, c->prompt_words + c->sent); m += snprintf(buf+m, sizeof buf - m, "%x\r\n%s\r\n", n, body); }
    m += snprintf(buf+m, sizeof buf - m, "e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n");
  }
  if (say(c, buf, m) < 0) return -1;
  if (c->sent == 1) c->row.out = now_ns();
  if (last) { finish(c); return 0; }
  return 1;
}
static int whole(Conn *c) {
  char *b = malloc(512 + c->left * 5), h[256]; int n = sprintf(b, "{\"id\":\"cmpl\",\"object\":\"chat.completion\",\"created\":1700000000,\"model\":\"truth\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"");
  for (int i = 0; i < c->left; i++) n += sprintf(b+n, " word");
  n += sprintf(b+n, "\"},\"finish_reason\":\"length\"}],\"usage\":{\"prompt_tokens\":%d,\"completion_tokens\":%d,\"total_tokens\":%d}}", c->prompt_words, c->left, c->prompt_words + c->left);
  int m = sprintf(h, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", n);
  char *all = malloc(n+m); memcpy(all, h, m); memcpy(all+m, b, n);
  c->row.first = c->row.last = now_ns(); c->row.tokens = c->left;
  int r = say(c, all, n+m); c->row.out = now_ns(); free(all); free(b); finish(c); return r;
}
static int request(Conn *c) {                   // 1 taken, 0 more bytes needed, -1 drop
  if (c->busy) return 0;
  char *end = memmem(c->in, c->in_len, "\r\n\r\n", 4); if (!end) return 0;
  *end = 0;                                     // the look-ups end with the head
  const char *l = strcasestr(c->in, "content-length:"), *te = strcasestr(c->in, "transfer-encoding: chunked"), *id = strcasestr(c->in, "\r\nx-request-id:");
  long len = l ? strtol(l + 15, 0, 10) : 0; int64_t no = id ? number(id + 15) : -1; *end = '\r';
  size_t head = end - c->in + 4, take = head + len, blen = len; const char *body = c->in + head;
  if (te) { const char *z = memmem(body - 2, c->in_len - head + 2, "\r\n0\r\n\r\n", 7); if (!z) return 0; take = z + 7 - c->in; blen = unchunk(c->in + head, take - head); }
  if (c->in_len < take) return 0;
  if (!memcmp(c->in, "GET ", 4)) {
    char h[512]; const char *b = "{\"object\":\"list\",\"data\":[{\"id\":\"truth\",\"object\":\"model\",\"owned_by\":\"truth\"}]}";
    const char *ct = "application/json"; char mb[200];
    if (find(c->in, head, "/metrics")) { snprintf(mb, sizeof mb, "# TYPE truth_requests counter\ntruth_requests_total %lu\n# TYPE truth_live gauge\ntruth_live %d\n", total, live); b = mb; ct = "text/plain; version=0.0.4"; }
    int n = snprintf(h, sizeof h, "HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %zu\r\n\r\n%s", ct, strlen(b), b);
    if (say(c, h, n) < 0) return -1;
  } else {
    c->ahead = ahead_ns(); c->row = (Row){.request = no, .arrived = c->heard ? c->heard - c->ahead : now_ns(), .conn = c->id};
    c->prompt_words = words(body, blen); c->stream = (find(body, blen, "\"stream\":true") || find(body, blen, "\"stream\": true")) ; c->usage = find(body, blen, "include_usage") != 0;
    long n = num_after(body, blen, "\"max_completion_tokens\"", -1); if (n < 0) n = num_after(body, blen, "\"max_tokens\"", def_tokens); if (n < 1) n = 1;
    c->left = n; c->sent = 0; c->busy = 1;
    if (c->stream) { static const char h[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nCache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n"; if (say(c, h, sizeof h - 1) < 0) return -1; }
    schedule(c, c->row.arrived + (c->stream ? ttft_us : ttft_us + itl_us * (c->left - 1)) * 1000);
  }
  memmove(c->in, c->in + take, c->in_len - take); c->in_len -= take; c->in[c->in_len] = 0; return 1;
}
// recv with the kernel's arrival stamp of what was read
static ssize_t hear_bytes(Conn *c) {
  char ctl[64]; struct iovec io = {c->in + c->in_len, c->in_cap - c->in_len}; struct msghdr m = {.msg_iov = &io, .msg_iovlen = 1, .msg_control = ctl, .msg_controllen = sizeof ctl};
  ssize_t k = recvmsg(c->fd, &m, 0); struct cmsghdr *h = k > 0 ? CMSG_FIRSTHDR(&m) : 0; struct timespec t;
  if (h && h->cmsg_type == SO_TIMESTAMPNS) { memcpy(&t, CMSG_DATA(h), sizeof t); c->heard = t.tv_sec * 1000000000LL + t.tv_nsec; } else if (k > 0) c->heard = 0;
  return k;
}
static void on_stop(int s) { (void)s; stop_ = 1; }
int main(int argc, char **argv) {
  for (int i = 1; i + 1 < argc; i += 2) {
    char *k = argv[i], *v = argv[i+1];
    if (!strcmp(k, "--port")) port = atoi(v); else if (!strcmp(k, "--ttft-us")) ttft_us = atol(v); else if (!strcmp(k, "--itl-us")) itl_us = atol(v);
    else if (!strcmp(k, "--tokens")) def_tokens = atoi(v); else if (!strcmp(k, "--log")) logf_ = fopen(v, "wb"); else { fprintf(stderr, "unknown %s\n", k); return 2; }
  }
  struct rlimit rl; getrlimit(RLIMIT_NOFILE, &rl); rl.rlim_cur = rl.rlim_max; setrlimit(RLIMIT_NOFILE, &rl);
  signal(SIGTERM, on_stop); signal(SIGINT, on_stop); signal(SIGPIPE, SIG_IGN);
  int s = listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1; setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one); setsockopt(s, SOL_SOCKET, SO_TIMESTAMPNS, &one, sizeof one);
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  if (bind(s, (void *)&a, sizeof a) || listen(s, 65535)) { perror("bind"); return 1; }
  ep = epoll_create1(0); hear(1); struct epoll_event ev[1024]; int said = 0;
  while (!stop_) {
    struct timespec ts = {1, 0}, *tp = &ts;
    if (heap_n) { int64_t d = heap[0]->due - now_ns(); if (d < 0) d = 0; if (d < 1000000000LL) { ts.tv_sec = 0; ts.tv_nsec = d; } }
    int n = epoll_pwait2(ep, ev, 1024, tp, 0);
    if (deaf && !live) hear(1);                  // nothing of ours to close: try once a second
    for (int i = 0; i < n; i++) {
      Conn *c = ev[i].data.ptr;
      if (!c) { for (;;) { int fd = accept4(s, 0, 0, SOCK_NONBLOCK);
        if (fd < 0) { if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) { if (!said++) fprintf(stderr, "truth: %s at %d connections, no more until one is closed\n", strerror(errno), live); hear(0); } break; }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &one, sizeof one); c = calloc(1, sizeof *c); c->fd = fd; c->id = next_id++; c->heap = -1; struct epoll_event x = {.events = EPOLLIN, .data.ptr = c}; epoll_ctl(ep, EPOLL_CTL_ADD, fd, &x); if (++live > peak) peak = live; } continue; }
      int dead = 0;
      if (ev[i].events & EPOLLOUT) dead = flush(c) < 0;
      if (!dead && (ev[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))) {
        for (;;) {
          if (c->in_cap - c->in_len < 65536) c->in = realloc(c->in, (c->in_cap = c->in_cap * 2 + 65536) + 1);
          ssize_t k = hear_bytes(c);
          if (k > 0) { c->in_len += k; c->in[c->in_len] = 0; if ((size_t)k < 65536) break; continue; }
          if (k < 0 && errno == EAGAIN) break;
          dead = 1; break;
        }
        int r; while (!dead && (r = request(c))) if (r < 0) dead = 1;
      }
      if (dead) drop(c);
    }
    int64_t t = now_ns(); int budget = 4096;
    while (heap_n && heap[0]->due <= t && budget--) {
      Conn *c = heap[0]; int r = c->stream ? chunk(c) : whole(c);
      if (r < 0) { drop(c); continue; }
      if (c->busy) schedule(c, c->due + itl_us * 1000);
      else { int q; while ((q = c->in_len ? request(c) : 0) > 0); if (q < 0) drop(c); }
    }
  }
  if (logf_) fclose(logf_);
  fprintf(stderr, "truth: served %lu, peak connections %d\n", total, peak);
  return 0;
}
