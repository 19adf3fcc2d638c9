/* SPDX-License-Identifier: MIT */
/* What the command line makes of a daemon's answers, of other programs', and of none. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "cmocka-headers.h"
#include "main/client.h"

#define HEAD(status) "HTTP/1.1 " status "\r\nContent-Type: application/json\r\n\r\n"

static char dir[] = "/tmp/rbdvol-client-XXXXXX", path[64];

struct server {
    int fd;
    pthread_t thread;
    const char *answer; /* NULL: none, until the client leaves */
    char request[1024];
};

static void *serve(void *arg)
{
    struct server *s = arg;
    auto_close int c = accept(s->fd, NULL, NULL);
    ssize_t n = read(c, s->request, sizeof s->request - 1);
    s->request[n > 0 ? n : 0] = '\0';
    if (s->answer && write(c, s->answer, strlen(s->answer)) < 0)
        return s;
    if (!s->answer)
        (void)!read(c, &(char){ 0 }, 1);
    return NULL;
}

static void begin(struct server *s, const char *answer)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    memcpy(a.sun_path, path, sizeof path);
    (void)unlink(path);
    *s = (struct server){ .fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), .answer = answer };
    assert_int_equal(bind(s->fd, (const struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(s->fd, 1), 0);
    assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
}

static void end(struct server *s)
{
    void *failed;
    pthread_join(s->thread, &failed);
    assert_null(failed);
    (void)close(s->fd);
}

static int call(const char *answer, char **ret, struct error *err)
{
    struct server s;
    json_auto_t *request = json_pack("{s:s}", "Name", "db");
    json_t *told = NULL;
    *ret = NULL;
    begin(&s, answer);
    int rc = client_call(path, "/VolumeDriver.Get", request, &told, err);
    end(&s);
    assert_non_null(strstr(s.request, "POST /VolumeDriver.Get HTTP/1."));
    assert_non_null(strstr(s.request, "{\"Name\":\"db\"}"));
    assert_int_equal(told != NULL, rc == 0);
    if (told)
        *ret = json_dumps(told, JSON_COMPACT);
    json_decref(told);
    return rc;
}

static void an_answer_is_handed_on(void **state)
{
    (void)state;
    struct error err;
    auto_free char *told = NULL;
    assert_int_equal(call(HEAD("200 OK") "{\"Volume\":{},\"Err\":\"\"}\n", &told, &err), 0);
    assert_string_equal(told, "{\"Volume\":{},\"Err\":\"\"}");
}

static void what_is_no_answer_of_ours_is_told_apart(void **state)
{
    static const struct {
        const char *answer;
        int code;
        const char *words;
    } rows[] = {
        { HEAD("500 Internal Server Error") "{\"Err\":\"cannot mount 'db': why\"}", -EIO,
          "cannot mount 'db': why" },
        { HEAD("404 Not Found") "nothing here", -EOPNOTSUPP, "it is another version, or not rbdvol" },
        { HEAD("405 Method Not Allowed") "", -EOPNOTSUPP, "it is another version" },
        { HEAD("503 Service Unavailable") "later", -EPROTO, "with HTTP status 503: later" },
        { HEAD("200 OK") "[1]", -EPROTO, "not a JSON object" },
        { HEAD("200 OK") "{\"Volume\":", -EPROTO, "not a JSON object" },
        { "SSH-2.0-OpenSSH_9.2\r\n\r\n", -EPROTO, "does not speak HTTP" },
        { "HTTP/1.1 200 OK\r\nContent-", -EPROTO, "does not speak HTTP" },
        { "", -ENODATA, "closed the connection without an answer" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct error err = { 0 };
        auto_free char *told = NULL;
        int rc = call(rows[i].answer, &told, &err);
        if (rc != rows[i].code || !strstr(err.msg, rows[i].words))
            fail_msg("%s: %d %s", rows[i].answer, rc, err.msg);
    }
}

static void where_nobody_listens_is_said_with_the_way_to_start_it(void **state)
{
    (void)state;
    struct error err;
    json_t *told = NULL;
    json_auto_t *request = json_object();
    char deep[200];
    (void)unlink(path);
    assert_int_equal(client_call(path, "/x", request, &told, &err), -ENOENT);
    assert_non_null(strstr(err.msg, "systemctl start rbdvol.socket"));
    struct server s;
    begin(&s, "");
    (void)client_call(path, "/x", request, &told, &err);
    end(&s); /* and leaves its socket behind */
    assert_int_equal(client_call(path, "/x", request, &told, &err), -ECONNREFUSED);
    memset(deep, 'x', sizeof deep - 1);
    deep[sizeof deep - 1] = '\0';
    assert_int_equal(client_call(deep, "/x", request, &told, &err), -ENAMETOOLONG);
    assert_int_equal(client_call(dir, "/x", request, &told, &err), -ECONNREFUSED);
    assert_null(told);
}

static void note(void *arg, int seconds)
{
    unsigned *times = arg;
    ++*times;
    assert_in_range(seconds, 1, 10);
}

static void who_waits_is_told_so_and_not_for_ever(void **state)
{
    (void)state;
    struct server s;
    struct error err;
    unsigned times = 0;
    json_t *told = NULL;
    json_auto_t *request = json_object();
    const struct client_patience how = { .ms = 1500, .waiting = note, .arg = &times };
    begin(&s, NULL);
    moment began = clock_now();
    assert_int_equal(client_call_patiently(path, "/x", request, &how, &told, &err), -ETIMEDOUT);
    assert_true(clock_since_ms(began) >= 1400);
    end(&s);
    assert_int_equal(times, 1);
    assert_null(told);
}

static int get(const char *answer, json_t **told, struct error *err)
{
    struct server s;
    begin(&s, answer);
    int rc = client_get(path, "/info", 5000, told, err);
    end(&s);
    assert_non_null(strstr(s.request, "GET /info HTTP/1.0\r\n"));
    return rc;
}

static void another_programs_json_is_read(void **state)
{
    static const char *const wrong[] = { HEAD("404 Not Found") "{}", HEAD("200 OK") "text", "{}", "" };
    struct error err;
    json_t *told = NULL;
    (void)state;
    assert_int_equal(get(HEAD("200 OK") "[1,2]", &told, &err), 0);
    assert_int_equal(json_array_size(told), 2);
    json_decref(told);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(get(wrong[i], &told, &err), -EPROTO);
        assert_non_null(strstr(err.msg, "does not answer with JSON"));
        assert_null(told);
    }
    (void)unlink(path);
    assert_int_equal(client_get(path, "/info", 5000, &told, &err), -ENOENT);
}

static int set_up(void **state)
{
    (void)state;
    if (!mkdtemp(dir))
        return -1;
    (void)snprintf(path, sizeof path, "%s/sock", dir);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    (void)unlink(path);
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_is_handed_on),
        cmocka_unit_test(what_is_no_answer_of_ours_is_told_apart),
        cmocka_unit_test(where_nobody_listens_is_said_with_the_way_to_start_it),
        cmocka_unit_test(who_waits_is_told_so_and_not_for_ever),
        cmocka_unit_test(another_programs_json_is_read),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
