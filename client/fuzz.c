/*
 * Feeds the client what no agent would send: `fuzz SEED COUNT`. It is compiled with the client's own source, as an
 * ordinary program with sanitizers, and compares each outcome with a second reading of the same bytes.
 */
#define WEFT_HOSTED
#define WEFT_NO_MAIN
#include "weft-client.c"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define __asan_poison_memory_region(start, size) ((void)(start), (void)(size))
#define __asan_unpoison_memory_region(start, size) ((void)(start), (void)(size))
#endif

/* Xorshift, by George Marsaglia. */
static uint64_t state;

static uint32_t below(uint32_t limit)
{
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return (uint32_t)((state >> 11) % limit);
}

enum { ROOM = 150000 };

/* What an agent says in one conversation; `length` bytes of it, and then it closes the connection. */
static struct {
  unsigned char bytes[ROOM];
  size_t length;
} script;

static void append(const void *bytes, size_t length)
{
  if (length > ROOM - script.length) length = ROOM - script.length;
  memcpy(script.bytes + script.length, bytes, length);
  script.length += length;
}

static void append_number(uint32_t number)
{
  append(&number, sizeof number);
}

static uint32_t odd_number(uint32_t number)
{
  static const uint32_t interesting[] = {
    0, 1, 7, 8, 11, 12, 13, 65535, 65536, 65537, 16 << 20, (16 << 20) + 1, 0x7fffffff, 0x80000000, 0xfffffff8, 0xffffffff,
  };
  switch (below(40)) {
  case 0:
    return interesting[below(sizeof interesting / sizeof *interesting)];
  case 1:
    return number + 1;
  case 2:
    return number - 1;
  default:
    return number;
  }
}

static void append_frame_header(uint32_t length, uint8_t type)
{
  append_number(odd_number(length));
  const uint8_t rest[4] = {
    below(50) == 0 ? (uint8_t)below(256) : type, below(200) == 0, below(200) == 0, below(200) == 0,
  };
  append(rest, sizeof rest);
}

static void append_text(size_t length)
{
  static unsigned char text[ROOM];
  for (size_t i = 0; i < length; i++) text[i] = (unsigned char)('a' + i % 26);
  append(text, length);
}

static void write_script(void)
{
  script.length = 0;
  append_frame_header(0, READY);
  const uint32_t sizes[2] = {below(20) == 0 ? below(70000) : below(300), below(300)};
  append_frame_header(12 + sizes[0] + sizes[1], ANSWER);
  append_number(odd_number(below(2)));
  for (size_t i = 0; i < 2; i++) {
    append_number(odd_number(sizes[i]));
    append_text(sizes[i]);
  }
  /* Something flipped, cut off, or behind the end. */
  for (uint32_t flips = below(4) == 0 ? below(4) : 0; flips > 0; flips--)
    script.bytes[below((uint32_t)script.length)] ^= (unsigned char)(1 << below(8));
  if (below(3) == 0) script.length = below((uint32_t)script.length + 1);
  if (below(10) == 0) append_text(below(20));
}

static uint32_t number_at(size_t at)
{
  uint32_t number;
  memcpy(&number, script.bytes + at, sizeof number);
  return number;
}

/* What has to come of the script, read in another way than the client does. */
static enum outcome expect(int *code, struct bytes blobs[2])
{
  static const unsigned char ready[8] = {0, 0, 0, 0, READY, 0, 0, 0};
  if (script.length < 8 || memcmp(script.bytes, ready, 8) != 0) return REFUSED;
  if (script.length < 16) return LOST;
  const uint64_t length = number_at(8);
  static const unsigned char answer[4] = {ANSWER, 0, 0, 0};
  if (memcmp(script.bytes + 12, answer, 4) != 0 || length > ANSWER_LIMIT || length > script.length - 16) return LOST;
  if (length < 12) return LOST;
  const uint64_t first = number_at(20);
  if (first + 12 > length) return LOST;
  const uint64_t second = number_at(24 + first);
  if (first + second + 12 != length || number_at(16) > 255) return LOST;
  *code = (int)number_at(16);
  blobs[0] = (struct bytes){script.bytes + 24, first};
  blobs[1] = (struct bytes){script.bytes + 28 + first, second};
  return ANSWERED;
}

static void fail(const char *what, uint64_t seed, uint64_t number)
{
  printf("case %llu of seed %llu: %s\n", (unsigned long long)number, (unsigned long long)seed, what);
  exit(1);
}

static bool is_same(struct bytes a, struct bytes b)
{
  return a.length == b.length && memcmp(a.start, b.start, a.length) == 0;
}

static enum outcome talk(uint64_t seed, uint64_t number)
{
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) != 0) fail("no socket pair", seed, number);
  const int room = 1 << 20;
  setsockopt(ends[1], SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
  write_script();
  if (write(ends[1], script.bytes, script.length) != (ssize_t)script.length) fail("no room", seed, number);
  shutdown(ends[1], SHUT_WR);
  const struct request request = {.name = text_of("bridge"), .input = {input.text, below(2000)}};
  struct answer answer = {0};
  const enum outcome outcome = converse(ends[0], &request, &answer);
  int code = 0;
  struct bytes blobs[2];
  if (outcome != expect(&code, blobs)) fail("another outcome", seed, number);
  if (outcome == ANSWERED &&
      (answer.code != code || !is_same(answer.output, blobs[0]) || !is_same(answer.errors, blobs[1])))
    fail("another answer", seed, number);
  close(ends[0]);
  close(ends[1]);
  return outcome;
}

/* Configurations as text: nothing behind the end may be looked at, and what is found is a version. */
static void look_for_version(uint64_t seed, uint64_t number)
{
  static const char *const pieces[] = {
    "{", "}", "\"cniVersion\"", "\"cniVersio", ":", " ", "\"", "1.0.0", "0.", ",", "\\\"", "x", "\"1.1.0\"", "\n",
  };
  input.length = 0;
  for (uint32_t count = below(12); count > 0; count--) {
    const char *piece = pieces[below(sizeof pieces / sizeof *pieces)];
    memcpy(input.text + input.length, piece, strlen(piece));
    input.length += strlen(piece);
  }
  __asan_poison_memory_region(input.text + input.length, 4096);
  const struct bytes version = find_version();
  for (size_t i = 0; i < version.length; i++)
    if (strchr("0123456789.", ((const char *)version.start)[i]) == NULL) fail("no version", seed, number);
  __asan_unpoison_memory_region(input.text + input.length, 4096);
}

/* One batch in a process of its own: the room for large answers is never given back. */
static void run_batch(uint64_t seed, uint64_t from, uint64_t to)
{
  uint64_t outcomes[3] = {0, 0, 0};
  for (uint64_t number = from; number < to; number++) {
    state = (seed + 1) * 0x9e3779b97f4a7c15 + number * 0xbf58476d1ce4e5b9 + 1;
    for (int i = 0; i < 8; i++) below(2);
    outcomes[talk(seed, number)]++;
    look_for_version(seed, number);
  }
  printf("%llu %llu %llu\n", (unsigned long long)outcomes[REFUSED], (unsigned long long)outcomes[LOST],
         (unsigned long long)outcomes[ANSWERED]);
  fflush(stdout);
}

int main(int count, char **arguments)
{
  if (count != 3) return 2;
  const uint64_t seed = strtoull(arguments[1], NULL, 10);
  const uint64_t cases = strtoull(arguments[2], NULL, 10);
  const uint64_t batch = 10000;
  signal(SIGPIPE, SIG_DFL);
  for (uint64_t from = 0; from < cases; from += batch) {
    const pid_t child = fork();
    if (child == 0) {
      run_batch(seed, from, from + batch < cases ? from + batch : cases);
      return 0;
    }
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child) return 2;
    if (status != 0) {
      printf("the cases from %llu of seed %llu ended with status %d\n", (unsigned long long)from,
             (unsigned long long)seed, status);
      return 1;
    }
  }
  return 0;
}
