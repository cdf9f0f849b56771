/*
 * What stands in the plugin folder under a plugin's name when weft is installed with --client: it hands the call to
 * the agent, which is running already, and prints what that answers. Where that cannot be, for whatever reason, it
 * executes the standalone weft in its own place, as the stub of that name would; its caller sees no difference.
 *
 * A unix stream socket; integers are little endian. Frame: u32 length of the payload, u8 type, three zero bytes, payload.
 *
 *   client                              agent
 *   request ------------------------->            who, where, what: see struct request and `send_request`
 *           <------------------------- ready      or refuse, with a reason
 *   go      ------------------------->            until here the client may go away (after 250 ms, unless the agent is at work)
 *           <------------------------- answer     i32 exit code, u32 length, stdout, u32 length, stderr
 *
 * The agent begins when it has `go`. From then on the client never executes weft: the work might be done twice. If the
 * connection ends without an answer it reports error 11 ("try again later"); if the client goes away, the agent undoes.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

#include "start.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "numbers go over the socket as they are in memory"
#endif

enum { PROTOCOL = 1 };
enum { REQUEST = 1, READY = 2, GO = 3, ANSWER = 4 };

/* Of stdin and of the environment each; what is larger is a call for the standalone weft. */
#define INPUT_LIMIT ((size_t)1 << 20)
#define ANSWER_LIMIT ((size_t)16 << 20)
/* How long the agent may take until it is ready, and how long a full queue of connections is waited for. */
#define PATIENCE_MS 250
/* How long an agent that is at work may take. To run plugins beside it would only take the processors from both. */
#define LONG_PATIENCE_MS 10000
#define FOREVER (-1)

/* `weft install` finds this in the file by its first field and fills in the others: see cli/installation/client.ts. */
struct configuration {
  char magic[32];
  char socket[108];
  char program[788];
  char release[96];
};

__attribute__((used, aligned(32))) static const struct configuration installed = {
  .magic = "weft client configuration 1",
};

static const struct configuration *get_configuration(void)
{
  const struct configuration *configuration = &installed;
  /* The compiler knows only what is in the file before it is installed: it must not rely on that. */
  __asm__("" : "+r"(configuration));
  return configuration;
}

struct bytes {
  const void *start;
  size_t length;
};

/* As much of stdin as was read; `complete` when that is all of it. */
static struct {
  char text[INPUT_LIMIT];
  size_t length;
  bool complete;
} input;

/* ------------------------------------------------------------------ small things */

static int64_t now_ms(void)
{
  struct timespec time = {0, 0};
  CALL2(clock_gettime, CLOCK_MONOTONIC, &time);
  return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

/* Waits until a descriptor is ready, or has failed: what it is used for then tells. False when the time is over. */
static bool wait_for(int fd, short events, int64_t deadline_ms, short *ready)
{
  for (;;) {
    struct pollfd poll = {fd, events, 0};
    struct timespec left = {0, 0};
    if (deadline_ms != FOREVER) {
      const int64_t ms = deadline_ms - now_ms();
      if (ms <= 0) return false;
      left.tv_sec = ms / 1000;
      left.tv_nsec = ms % 1000 * 1000000;
    }
    const long found = CALL6(ppoll, &poll, 1, deadline_ms == FOREVER ? NULL : &left, NULL, 8, 0);
    if (found > 0) {
      if (ready != NULL) *ready = poll.revents;
      return true;
    }
    if (found < 0 && found != -EINTR) return false;
  }
}

/* Writes all of it, whatever kind of pipe it is; 0, or the negative number of an error. */
static long write_all(int fd, struct bytes bytes)
{
  const char *next = bytes.start;
  for (size_t left = bytes.length; left > 0;) {
    const long written = CALL3(write, fd, next, left);
    if (written >= 0) {
      next += written;
      left -= (size_t)written;
    } else if (written == -EAGAIN) {
      if (!wait_for(fd, POLLOUT, FOREVER, NULL)) return -EIO;
    } else if (written != -EINTR) {
      return written;
    }
  }
  return 0;
}

static struct bytes text_of(const char *text)
{
  return (struct bytes){text, strlen(text)};
}

static long write_text(int fd, const char *text)
{
  return write_all(fd, text_of(text));
}

static bool starts_with(const char *text, const char *start)
{
  while (*start != 0)
    if (*text++ != *start++) return false;
  return true;
}

static bool is_equal(const char *a, const char *b)
{
  return strlen(a) == strlen(b) && starts_with(a, b);
}

/* A variable's value; an empty text where it is not set. `name` ends with the equals sign. */
static const char *find_variable(const struct process *process, const char *name)
{
  for (char **each = process->environment; *each != NULL; each++)
    if (starts_with(*each, name)) return *each + strlen(name);
  return "";
}

static const char *base_name(const char *path)
{
  const char *name = path;
  for (; *path != 0; path++)
    if (*path == '/') name = path + 1;
  return name;
}

/* ------------------------------------------------------------------ errors of the client's own */

/* The configuration's "cniVersion", if it is written the usual way; nothing otherwise. */
static struct bytes find_version(void)
{
  static const char key[] = "\"cniVersion\"";
  const size_t length = sizeof key - 1;
  for (size_t at = 0; at + length < input.length; at++) {
    if (memcmp(input.text + at, key, length) != 0) continue;
    size_t start = at + length;
    while (start < input.length && (input.text[start] == ' ' || input.text[start] == ':')) start++;
    if (start == input.length || input.text[start] != '"') break;
    size_t end = ++start;
    while (end < input.length && (input.text[end] == '.' || (input.text[end] >= '0' && input.text[end] <= '9'))) end++;
    if (end == input.length || input.text[end] != '"') break;
    return (struct bytes){input.text + start, end - start};
  }
  return (struct bytes){NULL, 0};
}

/* Reports error 11 as a plugin does (CNI specification, section 5). Gives the exit code. */
static int try_again_later(const char *message, const char *details)
{
  const struct bytes version = find_version();
  write_text(1, "{\n");
  if (version.length > 0) {
    write_text(1, "    \"cniVersion\": \"");
    write_all(1, version);
    write_text(1, "\",\n");
  }
  write_text(1, "    \"code\": 11,\n    \"msg\": \"");
  write_text(1, message);
  write_text(1, "\",\n    \"details\": \"");
  for (; *details != 0; details++) {
    if (*details == '"' || *details == '\\') write_text(1, "\\");
    /* Nothing below a space is in a path that `weft install` takes. */
    write_all(1, (struct bytes){details, 1});
  }
  write_text(1, "\"\n}");
  return 1;
}

/* ------------------------------------------------------------------ stdin, and what follows without the agent */

/* Reads stdin as far as there is room for it. False for an error: who reads it next finds the same. */
static bool read_input(void)
{
  while (input.length < sizeof input.text) {
    const long length = CALL3(read, 0, input.text + input.length, sizeof input.text - input.length);
    if (length > 0) {
      input.length += (size_t)length;
    } else if (length == 0) {
      input.complete = true;
      return true;
    } else if (length == -EAGAIN) {
      if (!wait_for(0, POLLIN, FOREVER, NULL)) return false;
    } else if (length != -EINTR) {
      return false;
    }
  }
  return true;
}

/* A file without a name. Kernels before 6.3 do not know the first flag, some refuse files without it. */
static int make_file(void)
{
  const unsigned int no_exec_seal = 8;
  const long fd = CALL2(memfd_create, "weft-stdin", MFD_CLOEXEC | no_exec_seal);
  return (int)(fd == -EINVAL ? CALL2(memfd_create, "weft-stdin", MFD_CLOEXEC) : fd);
}

static bool put_input_into_file(int file)
{
  if (write_all(file, (struct bytes){input.text, input.length}) != 0) return false;
  while (!input.complete) {
    input.length = 0;
    if (!read_input() || write_all(file, (struct bytes){input.text, input.length}) != 0) return false;
  }
  return CALL3(lseek, file, 0, SEEK_SET) == 0 && CALL3(dup3, file, 0, 0) == 0;
}

/* Where no file can be made: all of it has to fit into a pipe, because nobody is left to write it. */
static bool put_input_into_pipe(void)
{
  int ends[2];
  if (!input.complete || CALL2(pipe2, ends, O_CLOEXEC) < 0) return false;
  if (CALL3(fcntl, ends[1], F_SETPIPE_SZ, INPUT_LIMIT) < (long)input.length) return false;
  return write_all(ends[1], (struct bytes){input.text, input.length}) == 0 && CALL3(dup3, ends[0], 0, 0) == 0;
}

/* Makes stdin be what it was before it was read. */
static bool restore_input(void)
{
  if (input.length == 0) return true;
  const int file = make_file();
  return file >= 0 ? put_input_into_file(file) : put_input_into_pipe();
}

/* Executes weft as the kernel does for a stub: the program, --plugin, the stub's path, the caller's arguments. */
static void execute_weft(const struct process *process, char **environment)
{
  char **const given = process->arguments;
  size_t count = 0;
  while (given[count] != NULL) count++;
  const char *arguments[count + 4];
  size_t next = 0;
  arguments[next++] = get_configuration()->program;
  arguments[next++] = "--plugin";
  arguments[next++] = process->executable;
  for (size_t i = 1; i < count; i++) arguments[next++] = given[i];
  arguments[next] = NULL;
  CALL3(execve, get_configuration()->program, arguments, environment);
}

/* Whether there is another file now where this one was executed: an upgrade has removed the program that this one knows. */
static bool is_replaced(const struct process *process)
{
  struct stat own, now;
  if (CALL4(newfstatat, AT_FDCWD, "/proc/self/exe", &own, 0) != 0) return false;
  if (CALL4(newfstatat, AT_FDCWD, process->executable, &now, 0) != 0) return false;
  return own.st_dev != now.st_dev || own.st_ino != now.st_ino;
}

static int run_standalone(const struct process *process)
{
  if (!restore_input())
    return try_again_later("cannot hand the configuration on to the standalone weft", "is there memory left?");
  execute_weft(process, process->environment);
  if (is_replaced(process)) CALL3(execve, process->executable, process->arguments, process->environment);
  return try_again_later("cannot execute the standalone weft", get_configuration()->program);
}

/* ------------------------------------------------------------------ the request */

/* The fixed part of a request's payload. */
struct identity {
  uint16_t protocol;
  uint16_t umask;
  uint32_t pid;
  int32_t netns;
  uint32_t zero;
  uint64_t netns_device;
  uint64_t netns_inode;
  /* Of this process: net, mnt, pid, user. */
  uint64_t namespaces[4];
};
_Static_assert(sizeof(struct identity) == 64, "no padding");

struct frame {
  uint32_t length;
  uint8_t type;
  uint8_t zero[3];
};
_Static_assert(sizeof(struct frame) == 8, "no padding");

struct request {
  struct identity identity;
  struct bytes release;
  struct bytes name;
  struct bytes folder;
  struct bytes environment;
  struct bytes input;
};

/* The variables as the kernel put them, one behind the other with a zero between; false if there are too many. */
static bool get_environment(const struct process *process, struct bytes *environment)
{
  const char *next = process->environment[0];
  *environment = (struct bytes){next, 0};
  for (char **each = process->environment; *each != NULL; each++) {
    if (*each != next) return false;
    next += strlen(next) + 1;
  }
  if (next == environment->start) return true;
  environment->length = (size_t)(next - (const char *)environment->start) - 1;
  return environment->length <= INPUT_LIMIT;
}

static bool identify(const struct process *process, struct identity *identity)
{
  static const char *const paths[] = {
    "/proc/self/ns/net", "/proc/self/ns/mnt", "/proc/self/ns/pid", "/proc/self/ns/user",
  };
  struct stat status;
  *identity = (struct identity){.protocol = PROTOCOL, .pid = (uint32_t)CALL0(getpid), .netns = -1};
  /* It can be read only by changing it. */
  identity->umask = (uint16_t)CALL1(umask, 0);
  CALL1(umask, identity->umask);
  for (size_t i = 0; i < 4; i++) {
    if (CALL4(newfstatat, AT_FDCWD, paths[i], &status, 0) != 0) return false;
    identity->namespaces[i] = status.st_ino;
  }
  const char *netns = find_variable(process, "CNI_NETNS=");
  if (*netns == 0) return true;
  /* Of what cannot be opened the agent finds out as the standalone weft does. A pipe of that name must not stop us. */
  const long fd = CALL4(openat, AT_FDCWD, netns, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0);
  if (fd < 0) return true;
  if (CALL2(fstat, fd, &status) != 0) return false;
  identity->netns = (int32_t)fd;
  identity->netns_device = status.st_dev;
  identity->netns_inode = status.st_ino;
  return true;
}

static bool fill_request(const struct process *process, struct request *request)
{
  static char folder[4096];
  const long length = CALL2(getcwd, folder, sizeof folder);
  if (length <= 1) return false;
  request->release = text_of(get_configuration()->release);
  request->name = text_of(base_name(process->executable));
  request->folder = (struct bytes){folder, (size_t)length - 1};
  request->input = (struct bytes){input.text, input.length};
  return get_environment(process, &request->environment) && identify(process, &request->identity);
}

/* ------------------------------------------------------------------ the conversation */

/* The process that listens where the connection leads to. */
static struct ucred get_peer(int fd)
{
  struct ucred peer = {0, (uid_t)-1, (gid_t)-1};
  socklen_t size = sizeof peer;
  if (CALL6(getsockopt, fd, SOL_SOCKET, SO_PEERCRED, &peer, &size, 0) != 0) peer.uid = (uid_t)-1;
  return peer;
}

/* The letter of a process's state in /proc; that of its first thread, which is the one that answers. */
static char read_state(pid_t pid)
{
  char path[32] = "/proc/", text[512];
  char digits[12];
  size_t count = 0, at = 6;
  for (pid_t rest = pid; rest > 0; rest /= 10) digits[count++] = (char)('0' + rest % 10);
  while (count > 0) path[at++] = digits[--count];
  memcpy(path + at, "/stat", 6);
  const long fd = CALL4(openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
  if (fd < 0) return 0;
  const long length = CALL3(read, fd, text, sizeof text);
  CALL1(close, fd);
  /* Behind the name, which may hold anything. */
  for (long end = length - 3; end > 0; end--)
    if (text[end] == ')' && text[end + 1] == ' ') return text[end + 2];
  return 0;
}

/* Runs, waits for a processor, or for the kernel: an agent that has nothing to do sleeps, and one that is stopped is stopped. */
static bool is_at_work(pid_t pid)
{
  const struct timespec pause = {0, 10000000};
  for (int i = 0; i < 3; i++) {
    const char state = pid > 0 ? read_state(pid) : 0;
    /* t: somebody looks on with strace. */
    if (state == 'R' || state == 'D' || state == 't') return true;
    if (state != 'S') return false;
    CALL2(nanosleep, &pause, NULL);
  }
  return false;
}

/* Waits for the agent. False when one has to go on without it. */
static bool wait_for_agent(int fd, short events, short *ready)
{
  const int64_t started_ms = now_ms();
  do {
    if (wait_for(fd, events, now_ms() + PATIENCE_MS, ready)) return true;
  } while (now_ms() - started_ms < LONG_PATIENCE_MS && is_at_work(get_peer(fd).pid));
  return false;
}

/* Sends all parts. False if the agent has something to say before it could have read them. */
static bool send_parts(int fd, struct iovec *parts, size_t count)
{
  while (count > 0) {
    const struct msghdr message = {.msg_iov = parts, .msg_iovlen = count};
    long sent = CALL3(sendmsg, fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent == -EAGAIN) {
      short ready = 0;
      if (!wait_for_agent(fd, POLLIN | POLLOUT, &ready) || (ready & POLLIN) != 0) return false;
    } else if (sent < 0 && sent != -EINTR) {
      return false;
    }
    for (; sent > 0 || (count > 0 && parts->iov_len == 0); parts++, count--) {
      const size_t done = (size_t)sent < parts->iov_len ? (size_t)sent : parts->iov_len;
      parts->iov_len -= done;
      parts->iov_base = (char *)parts->iov_base + done;
      sent -= (long)done;
      if (parts->iov_len > 0) break;
    }
  }
  return true;
}

static bool send_request(int fd, const struct request *request)
{
  const struct bytes *const blobs[] = {
    &request->release, &request->name, &request->folder, &request->environment, &request->input,
  };
  enum { BLOBS = sizeof blobs / sizeof *blobs };
  uint32_t lengths[BLOBS];
  struct iovec parts[2 + 2 * BLOBS];
  size_t total = sizeof request->identity;
  for (size_t i = 0; i < BLOBS; i++) {
    lengths[i] = (uint32_t)blobs[i]->length;
    parts[2 + 2 * i] = (struct iovec){&lengths[i], sizeof lengths[i]};
    parts[3 + 2 * i] = (struct iovec){(void *)blobs[i]->start, blobs[i]->length};
    total += sizeof lengths[i] + blobs[i]->length;
  }
  struct frame frame = {(uint32_t)total, REQUEST, {0}};
  parts[0] = (struct iovec){&frame, sizeof frame};
  parts[1] = (struct iovec){(void *)&request->identity, sizeof request->identity};
  return send_parts(fd, parts, sizeof parts / sizeof *parts);
}

/* Receives exactly `size` bytes; false at the end of the connection, an error or the deadline. */
static bool receive(int fd, void *buffer, size_t size, int64_t deadline_ms)
{
  char *next = buffer;
  while (size > 0) {
    if (!wait_for(fd, POLLIN, deadline_ms, NULL)) return false;
    const long length = CALL6(recvfrom, fd, next, size, MSG_DONTWAIT, NULL, NULL);
    if (length == 0 || (length < 0 && length != -EAGAIN && length != -EINTR)) return false;
    if (length < 0) continue;
    next += length;
    size -= (size_t)length;
  }
  return true;
}

static bool receive_frame(int fd, struct frame *frame, int64_t deadline_ms)
{
  if (!receive(fd, frame, sizeof *frame, deadline_ms)) return false;
  return frame->zero[0] == 0 && frame->zero[1] == 0 && frame->zero[2] == 0;
}

struct answer {
  int code;
  struct bytes output;
  struct bytes errors;
};

/* Takes a length and so many bytes from the front of `rest`. */
static bool take_blob(struct bytes *rest, struct bytes *blob)
{
  uint32_t length;
  if (rest->length < sizeof length) return false;
  memcpy(&length, rest->start, sizeof length);
  if (length > rest->length - sizeof length) return false;
  *blob = (struct bytes){(const char *)rest->start + sizeof length, length};
  *rest = (struct bytes){(const char *)blob->start + length, rest->length - sizeof length - length};
  return true;
}

static bool parse_answer(struct bytes payload, struct answer *answer)
{
  int32_t code;
  if (payload.length < sizeof code) return false;
  memcpy(&code, payload.start, sizeof code);
  answer->code = code;
  struct bytes rest = {(const char *)payload.start + sizeof code, payload.length - sizeof code};
  if (!take_blob(&rest, &answer->output) || !take_blob(&rest, &answer->errors)) return false;
  return rest.length == 0 && code >= 0 && code <= 255;
}

/* Room for an answer's payload; it is never given back. */
static void *make_room(size_t size)
{
  static char small[65536];
  if (size <= sizeof small) return small;
  const long room = CALL6(mmap, NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return room < 0 && room > -4096 ? NULL : (void *)room;
}

static bool receive_answer(int fd, struct answer *answer)
{
  struct frame frame;
  if (!receive_frame(fd, &frame, FOREVER) || frame.type != ANSWER || frame.length > ANSWER_LIMIT) return false;
  void *payload = make_room(frame.length);
  if (payload == NULL || !receive(fd, payload, frame.length, FOREVER)) return false;
  return parse_answer((struct bytes){payload, frame.length}, answer);
}

/* REFUSED: the agent has not begun and never will. LOST: it may have begun, and nobody knows how it ended. */
enum outcome { REFUSED, LOST, ANSWERED };

static enum outcome converse(int fd, const struct request *request, struct answer *answer)
{
  struct frame frame;
  if (!send_request(fd, request) || !wait_for_agent(fd, POLLIN, NULL)) return REFUSED;
  if (!receive_frame(fd, &frame, now_ms() + PATIENCE_MS)) return REFUSED;
  if (frame.type != READY || frame.length != 0) return REFUSED;
  frame.type = GO;
  struct iovec go = {&frame, sizeof frame};
  /* Part of it is as good as nothing: the agent begins when it has all. */
  if (!send_parts(fd, &go, 1)) return REFUSED;
  return receive_answer(fd, answer) ? ANSWERED : LOST;
}

/* ------------------------------------------------------------------ the answer */

/* Only information: a caller that closed it must not change the outcome. */
static void print_errors(struct bytes errors)
{
  if (errors.length > 0) write_all(2, errors);
}

/* Nobody learned of what was attached: it would stay for ever. The standalone weft takes it back. */
static void undo_add(const struct process *process)
{
  if (!is_equal(find_variable(process, "CNI_COMMAND="), "ADD") || !restore_input()) return;
  for (char **each = process->environment; *each != NULL; each++)
    if (starts_with(*each, "CNI_COMMAND=")) *each = (char *)"CNI_COMMAND=DEL";
  const long child = CALL6(clone, SIGCHLD, 0, 0, 0, 0, 0);
  if (child == 0) {
    execute_weft(process, process->environment);
    CALL1(exit_group, 1);
  }
  while (child > 0 && CALL4(wait4, child, NULL, 0, NULL) == -EINTR) {}
}

static int print_answer(const struct process *process, const struct answer *answer)
{
  print_errors(answer->errors);
  if (write_all(1, answer->output) == 0) return answer->code;
  if (answer->code == 0) undo_add(process);
  write_text(2, base_name(process->executable));
  write_text(2, ": cannot write the result to stdout\n");
  return 1;
}

/* ------------------------------------------------------------------ from the beginning */

/* Whatever is opened later must not become stdin, stdout or stderr; Node does the same for the standalone weft. */
static void open_standard_streams(void)
{
  for (int fd = 0; fd <= 2; fd++)
    if (CALL2(fcntl, fd, F_GETFD) == -EBADF) CALL4(openat, AT_FDCWD, "/dev/null", O_RDWR, 0);
}

/*
 * Whether a call can be one for the agent: one of the verbs with the variables that it takes. Without them it fails before
 * anybody reads stdin, as the standalone weft does best.
 */
static bool is_for_agent(const struct process *process)
{
  static const struct {
    const char *command;
    const char *needs[4];
  } verbs[] = {
    {"ADD", {"CNI_PATH=", "CNI_CONTAINERID=", "CNI_IFNAME=", "CNI_NETNS="}},
    {"DEL", {"CNI_PATH=", "CNI_CONTAINERID=", "CNI_IFNAME=", NULL}},
    {"CHECK", {"CNI_PATH=", "CNI_CONTAINERID=", "CNI_IFNAME=", "CNI_NETNS="}},
    {"GC", {"CNI_PATH=", NULL}},
    {"STATUS", {"CNI_PATH=", NULL}},
    {"VERSION", {NULL}},
  };
  /* A stub takes no arguments. */
  if (process->arguments[0] == NULL || process->arguments[1] != NULL) return false;
  const char *command = find_variable(process, "CNI_COMMAND=");
  for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) {
    if (!is_equal(command, verbs[i].command)) continue;
    for (size_t k = 0; k < 4 && verbs[i].needs[k] != NULL; k++)
      if (*find_variable(process, verbs[i].needs[k]) == 0) return false;
    return true;
  }
  return false;
}

/* All of stdin, if it is not too much. VERSION does not look at it: there may be nobody who ends it. */
static bool get_input(const struct process *process)
{
  return is_equal(find_variable(process, "CNI_COMMAND="), "VERSION") || (read_input() && input.complete);
}

/* The agent is root, or it is not the agent. */
static bool is_root(int fd)
{
  return get_peer(fd).uid == 0;
}

static int connect_to_agent(void)
{
  const long fd = CALL3(socket, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  /* Without even a /dev/null it would be a standard stream. */
  if (fd <= 2) return -1;
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  memcpy(address.sun_path, get_configuration()->socket, sizeof address.sun_path);
  const int64_t deadline_ms = now_ms() + PATIENCE_MS;
  const struct timespec pause = {0, 1000000};
  for (;;) {
    const long result = CALL3(connect, fd, &address, sizeof address);
    if (result == 0) break;
    /* EAGAIN: its queue is full, and a socket of this kind cannot tell when there is room. */
    if ((result != -EAGAIN && result != -EINTR) || now_ms() >= deadline_ms) return -1;
    if (result == -EAGAIN) CALL2(nanosleep, &pause, NULL);
  }
  return is_root((int)fd) ? (int)fd : -1;
}

static void ignore_broken_pipes(void)
{
  /* The kernel's struct sigaction: handler, flags, restorer, mask. */
  const unsigned long action[4] = {(unsigned long)SIG_IGN, 0, 0, 0};
  CALL4(rt_sigaction, SIGPIPE, action, NULL, sizeof action[3]);
}

static int run(const struct process *process)
{
  if (get_configuration()->program[0] == 0 || process->executable == NULL) {
    write_text(2, "weft-client: this file is a part of weft, and works where `weft install --client` puts it\n");
    return 1;
  }
  open_standard_streams();
  if (!is_for_agent(process)) return run_standalone(process);
  const int fd = connect_to_agent();
  if (fd < 0) return run_standalone(process);
  if (!get_input(process)) return run_standalone(process);
  struct request request;
  struct answer answer;
  const enum outcome outcome = fill_request(process, &request) ? converse(fd, &request, &answer) : REFUSED;
  if (outcome == REFUSED) {
    CALL1(close, fd);
    return run_standalone(process);
  }
  ignore_broken_pipes();
  if (outcome == ANSWERED) return print_answer(process, &answer);
  return try_again_later("the agent of weft went away in the middle of the call",
                         "what it had begun is not known: `journalctl -u weft-agent` says why");
}
