/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/channel.h"
#include "base/cleanup.h"
#include "cmocka-headers.h"

static char dir[] = "/tmp/rbdvol-test-channel.XXXXXX";
static char path[64];
static struct error err;

static int set_up(void **state)
{
    (void)state;
    if (!mkdtemp(dir))
        return -1;
    (void)snprintf(path, sizeof path, "%s/socket", dir);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    (void)unlink(path);
    return rmdir(dir);
}

static void pair(int *fds)
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
}

static void sends_and_receives(void **state)
{
    int fds[2];
    (void)state;
    pair(fds);
    auto_close int a = fds[0], b = fds[1];
    json_auto_t *sent = json_pack("{s:s, s:i}", "do", "map", "n", 5), *got = NULL;
    assert_int_equal(channel_send(a, sent, clock_in_ms(1000), &err), 0);
    assert_int_equal(channel_receive(b, clock_in_ms(1000), &got, &err), 0);
    assert_true(json_equal(sent, got));
}

static void hands_descriptors_over(void **state)
{
    int fds[2], pipes[2], got_fds[2] = { -1, -1 };
    char c = 0;
    (void)state;
    pair(fds);
    auto_close int a = fds[0], b = fds[1];
    assert_int_equal(pipe(pipes), 0);
    json_auto_t *sent = json_pack("{s:s}", "do", "map"), *got = NULL, *none = NULL;
    assert_int_equal(channel_send_fds(a, sent, pipes, 2, clock_in_ms(1000), &err), 0);
    assert_int_equal(channel_receive_fds(b, clock_in_ms(1000), &got, got_fds, 2, &err), 0);
    assert_true(json_equal(sent, got));
    assert_int_equal(write(got_fds[1], "x", 1), 1);
    assert_int_equal(read(pipes[0], &c, 1), 1);
    assert_int_equal(c, 'x');
    (void)close(got_fds[0]);
    (void)close(got_fds[1]);
    assert_int_equal(channel_send_fds(a, sent, pipes, 1, clock_in_ms(1000), &err), 0);
    assert_int_equal(channel_receive_fds(b, clock_in_ms(1000), &none, got_fds, 2, &err), -EPROTO);
    for (int i = 0; i < 2; i++)
        (void)close(pipes[i]);
}

static void keeps_deadlines(void **state)
{
    int fds[2];
    json_t *got = NULL;
    (void)state;
    pair(fds);
    auto_close int a = fds[0], b = fds[1];
    moment begun = clock_now();
    assert_int_equal(channel_receive(b, clock_in_ms(50), &got, &err), -ETIMEDOUT);
    assert_in_range(clock_since_ms(begun), 49, 2000);
    json_auto_t *sent = json_pack("{s:s}", "do", "x");
    int rc = 0;
    for (int i = 0; i < 100000 && rc == 0; i++)
        rc = channel_send(a, sent, clock_in_ms(50), &err);
    assert_int_equal(rc, -ETIMEDOUT);
    assert_null(got);
}

static void notices_the_end(void **state)
{
    int fds[2];
    json_t *got = NULL;
    json_auto_t *sent = json_pack("{s:s}", "do", "x");
    (void)state;
    pair(fds);
    auto_close int a = fds[0];
    (void)close(fds[1]);
    assert_int_equal(channel_receive(a, clock_in_ms(1000), &got, &err), -EPIPE);
    assert_int_equal(channel_send(a, sent, clock_in_ms(1000), &err), -EPIPE);
    /* with something of ours unread, the kernel says ECONNRESET */
    pair(fds);
    auto_close int c = fds[0];
    assert_int_equal(channel_send(c, sent, clock_in_ms(1000), &err), 0);
    (void)close(fds[1]);
    assert_int_equal(channel_call(c, sent, clock_in_ms(1000), NULL, &err), -EPIPE);
    pair(fds);
    auto_close int d = fds[0];
    assert_int_equal(channel_send(d, sent, clock_in_ms(1000), &err), 0);
    (void)close(fds[1]);
    assert_int_equal(channel_receive(d, clock_in_ms(1000), &got, &err), -EPIPE);
}

static void refuses_what_is_no_object(void **state)
{
    static const char *const bad[] = { "[]", "1", "{", "\"x\"", "{\"a\":1,\"a\":2}", "{}x" };
    int fds[2];
    json_t *got = NULL;
    (void)state;
    pair(fds);
    auto_close int a = fds[0], b = fds[1];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_true(send(a, bad[i], strlen(bad[i]), 0) > 0);
        assert_int_equal(channel_receive(b, clock_in_ms(1000), &got, &err), -EPROTO);
    }
    assert_null(got);
}

struct answers {
    int fd;
    const char *const *texts; /* NULL-ended */
};

static void *answer(void *arg)
{
    const struct answers *a = arg;
    json_t *got = NULL;
    struct error unused;
    if (channel_receive(a->fd, clock_in_ms(5000), &got, &unused) == 0)
        for (size_t i = 0; a->texts[i]; i++)
            (void)!send(a->fd, a->texts[i], strlen(a->texts[i]), 0);
    json_decref(got);
    return NULL;
}

static int call(const char *const *texts, json_t **ret)
{
    int fds[2];
    pthread_t thread;
    json_auto_t *request = json_pack("{s:s}", "do", "x");
    pair(fds);
    auto_close int a = fds[0], b = fds[1];
    struct answers answers = { .fd = b, .texts = texts };
    assert_int_equal(pthread_create(&thread, NULL, answer, &answers), 0);
    int rc = channel_call(a, request, clock_in_ms(500), ret, &err);
    pthread_join(thread, NULL);
    return rc;
}

static void calls(void **state)
{
    json_auto_t *reply = NULL;
    (void)state;
    assert_int_equal(call((const char *const[]){ "{\"ok\":true,\"n\":5}", NULL }, &reply), 0);
    assert_int_equal(json_integer_value(json_object_get(reply, "n")), 5);
    assert_int_equal(call((const char *const[]){ "{\"event\":\"lost\"}", "{\"ok\":true}", NULL }, NULL), 0);
    assert_int_equal(call((const char *const[]){ "{\"code\":-16,\"err\":\"it is busy\"}", NULL }, NULL),
                     -EBUSY);
    assert_string_equal(err.msg, "it is busy");
    assert_int_equal(call((const char *const[]){ "{\"code\":5}", NULL }, NULL), -EPROTO);
    assert_int_equal(call((const char *const[]){ "{\"ok\":false}", NULL }, NULL), -EPROTO);
    assert_int_equal(call((const char *const[]){ NULL }, NULL), -ETIMEDOUT);
}

static void refusals(void **state)
{
    (void)state;
    (void)error_set(&err, -EBUSY, "pid %d \xff uses it", 5);
    json_auto_t *refusal = channel_refusal(&err);
    assert_int_equal(json_integer_value(json_object_get(refusal, "code")), -EBUSY);
    assert_string_equal(json_string_value(json_object_get(refusal, "err")), "pid 5 ? uses it");
}

static void listens_and_connects(void **state)
{
    struct stat st;
    char longer[200];
    (void)state;
    assert_int_equal(channel_connect(path, &err), -ENOENT);
    int first = channel_listen(path, &err);
    assert_true(first >= 0);
    (void)close(first);
    assert_int_equal(channel_connect(path, &err), -ECONNREFUSED);
    auto_close int again = channel_listen(path, &err);
    assert_true(again >= 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    auto_close int client = channel_connect(path, &err);
    assert_true(client >= 0);
    memset(longer, 'x', sizeof longer);
    longer[sizeof longer - 1] = '\0';
    assert_int_equal(channel_listen(longer, &err), -ENAMETOOLONG);
    assert_int_equal(channel_connect(longer, &err), -ENAMETOOLONG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sends_and_receives),
        cmocka_unit_test(hands_descriptors_over),
        cmocka_unit_test(keeps_deadlines),
        cmocka_unit_test(notices_the_end),
        cmocka_unit_test(refuses_what_is_no_object),
        cmocka_unit_test(calls),
        cmocka_unit_test(refusals),
        cmocka_unit_test(listens_and_connects),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
