/* SPDX-License-Identifier: MIT */
/* What the kernel's client is told of the cluster: monitors and key, as they are written. */
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "ceph/monmap.h"
#include "ceph/secret.h"
#include "cmocka-headers.h"

#define MON(addrs) "{\"rank\":0,\"name\":\"a\",\"public_addrs\":{\"addrvec\":[" addrs "]}}"
#define V2(addr)   "{\"type\":\"v2\",\"addr\":\"" addr "\",\"nonce\":0}"
#define V1(addr)   "{\"type\":\"v1\",\"addr\":\"" addr "\",\"nonce\":0}"
#define DUMP(mons) "{\"epoch\":1,\"fsid\":\"9cd2c3ce-441b-4862-b041-b421e9a1f8e6\",\"mons\":[" mons "]}"

static void parse(const char *json, struct monmap *m)
{
    struct error err;
    assert_int_equal(monmap_parse(json, strlen(json), m, &err), 0);
}

static void every_monitor_is_named_by_each_kind_of_address(void **state)
{
    (void)state;
    auto_monmap struct monmap m = { 0 };
    parse(DUMP(MON(V2("10.0.0.1:3300") "," V1("10.0.0.1:6789")) "," MON(
              V2("[fd00::2]:3300") "," V1("[fd00::2]:6789"))),
          &m);
    assert_string_equal(m.fsid, "9cd2c3ce-441b-4862-b041-b421e9a1f8e6");
    assert_string_equal(m.v2, "10.0.0.1:3300,[fd00::2]:3300");
    assert_string_equal(m.v1, "10.0.0.1:6789,[fd00::2]:6789");
}

static void a_protocol_that_one_monitor_does_not_speak_is_not_used(void **state)
{
    (void)state;
    auto_monmap struct monmap m = { 0 };
    parse(DUMP(MON(V1("10.0.0.1:6789")) "," MON(V2("10.0.0.2:3300") "," V1("10.0.0.2:6789"))), &m);
    assert_null(m.v2);
    assert_string_equal(m.v1, "10.0.0.1:6789,10.0.0.2:6789");
}

static void what_is_no_address_is_not_passed_on(void **state)
{
    struct error err;
    (void)state;
    auto_monmap struct monmap m = { 0 };
    parse(DUMP(MON(V2("10.0.0.1:3300 rbd other -"))), &m);
    assert_null(m.v2);
    static const char *const bad[] = { "", "{}", "[]", DUMP(""), "{\"fsid\":1,\"mons\":[1]}" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(monmap_parse(bad[i], strlen(bad[i]), &m, &err), -EPROTO);
}

static void the_key_is_the_one_of_the_user(void **state)
{
    struct secret s = { .len = 0 };
    static const char text[] = "[client.admin]\n\tkey = AAAA\n[client.rbd]\nkey = BBBB\n"
                               "[client.rbdvol]\n\tcaps mon = \"profile rbd\"\n\tkey = a2V5AP8=\n";
    (void)state;
    assert_int_equal(secret_parse(text, "rbdvol", &s), 1);
    assert_int_equal(s.len, 5);
    assert_memory_equal(s.bytes, "key\0\xff", 5);
    assert_int_equal(secret_parse(text, "nobody", &s), 0);
    assert_int_equal(secret_parse("[client.rbdvol]\nkeyring = x\n", "rbdvol", &s), 0);
    assert_int_equal(secret_parse("", "rbdvol", &s), 0);
    assert_int_equal(secret_parse("[client.rbdvol]\nkey=a2V5AP8=", "rbdvol", &s), 1);
    secret_done(&s);
    assert_int_equal(s.len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_monitor_is_named_by_each_kind_of_address),
        cmocka_unit_test(a_protocol_that_one_monitor_does_not_speak_is_not_used),
        cmocka_unit_test(what_is_no_address_is_not_passed_on),
        cmocka_unit_test(the_key_is_the_one_of_the_user),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
