/* SPDX-License-Identifier: MIT */
/* Unmounting: what is ours, and nothing else. A tmpfs stands for the volume: it has a device number, too. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "cmocka-headers.h"
#include "host/loop.h"
#include "host/mount.h"
#include "host/mountinfo.h"
#include "host/procs.h"

#define MOVED_MAX 80

static char dir[] = "/tmp/test-umount.XXXXXX";
static char place[64], point[64], image[64];

static int make_dir(void **state)
{
    (void)state;
    if (!mkdtemp(dir))
        return -1;
    (void)snprintf(place, sizeof place, "%s/rbd", dir);
    (void)snprintf(point, sizeof point, "%s/rbd/db", dir);
    (void)snprintf(image, sizeof image, "%s/0123456789abcdef.img", dir);
    return mkdir(place, 0700) < 0 || mkdir(point, 0700) < 0 ? -1 : 0;
}

static int remove_dir(void **state)
{
    (void)state;
    while (umount2(point, UMOUNT_NOFOLLOW | MNT_DETACH) == 0)
        ;
    (void)unlink(image);
    return rmdir(point) < 0 || rmdir(place) < 0 || rmdir(dir) < 0 ? -1 : 0;
}

/* Our volume, mounted. */
static struct device_node mounted(void)
{
    struct stat st;
    assert_int_equal(mount("ours", point, "tmpfs", 0, NULL), 0);
    assert_int_equal(stat(point, &st), 0);
    struct device_node node = { .path = "/dev/none", .major = major(st.st_dev), .minor = minor(st.st_dev) };
    return node;
}

static int removed(const struct device_node *node, bool lazily, struct error *err)
{
    struct mount_news news = { 0 };
    int rc = mount_remove(point, node, lazily, &news, err);
    assert_true(!news.mounted && (!news.unmounted || strcmp(news.unmounted, point) == 0));
    mount_tell(&news);
    assert_null(news.unmounted);
    return rc;
}

static enum mountinfo_place pile(const struct device_node *node, struct mount_entry *e)
{
    struct error err;
    return (enum mountinfo_place)mountinfo_pile(point, node->major, node->minor, node->path, e, &err);
}

static void what_was_mounted_over_it_stays(void **state)
{
    struct error err = { 0 };
    struct mount_entry e;
    (void)state;
    const struct device_node node = mounted();
    assert_int_equal(pile(&node, &e), MOUNTINFO_TOP);
    assert_int_equal(mount("squatter", point, "tmpfs", 0, NULL), 0);
    for (int lazily = 0; lazily < 2; lazily++) {
        assert_int_equal(removed(&node, lazily, &err), -EEXIST);
        assert_non_null(strstr(err.msg, "squatter"));
        assert_int_equal(pile(&node, &e), MOUNTINFO_COVERED);
        assert_string_equal(e.source, "squatter");
    }
    assert_int_equal(umount2(point, UMOUNT_NOFOLLOW), 0);
    assert_int_equal(removed(&node, false, &err), 0);
    assert_int_equal(pile(&node, &e), MOUNTINFO_NOWHERE);
}

static void what_stands_there_instead_is_nobodys_business(void **state)
{
    struct error err = { 0 };
    struct mount_entry e;
    (void)state;
    const struct device_node node = mounted();
    assert_int_equal(umount2(point, UMOUNT_NOFOLLOW), 0);
    assert_int_equal(mount("squatter", point, "tmpfs", 0, "size=4k"), 0);
    if (pile(&node, &e) == MOUNTINFO_TOP) { /* the kernel gave it the number that had become free */
        assert_int_equal(umount2(point, UMOUNT_NOFOLLOW), 0);
        return;
    }
    assert_int_equal(removed(&node, true, &err), 0);
    assert_int_equal(mountinfo_at(point, &e, &err), 1);
    assert_string_equal(e.source, "squatter");
    assert_int_equal(umount2(point, UMOUNT_NOFOLLOW), 0);
}

static void a_busy_one_can_be_detached(void **state)
{
    struct error err = { 0 };
    struct mount_entry e;
    char who[200];
    (void)state;
    const struct device_node node = mounted();
    auto_close int inside = open(point, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(removed(&node, false, &err), -EBUSY);
    assert_int_equal(pile(&node, &e), MOUNTINFO_TOP);
    assert_int_equal(removed(&node, true, &err), 0);
    assert_int_equal(pile(&node, &e), MOUNTINFO_NOWHERE);
    assert_int_equal(procs_pinning(node.major, node.minor, point, who, sizeof who), 1);
}

/* Somebody moves MOUNT-ROOT/POOL away, and puts a link in its place. */
static void put_a_link(char moved[static MOVED_MAX])
{
    (void)snprintf(moved, MOVED_MAX, "%s.moved", place);
    assert_int_equal(rename(place, moved), 0);
    assert_int_equal(symlink(moved, place), 0);
}

static void what_was_moved_away_is_not_called_unmounted(void **state)
{
    char moved[MOVED_MAX];
    struct error err = { 0 };
    struct mount_entry e;
    (void)state;
    const struct device_node node = mounted();
    put_a_link(moved);
    for (int lazily = 0; lazily < 2; lazily++) {
        assert_int_equal(removed(&node, lazily, &err), -ENOTDIR);
        assert_non_null(strstr(err.msg, place));
    }
    assert_int_equal(unlink(place), 0);
    assert_int_equal(rename(moved, place), 0);
    assert_int_equal(pile(&node, &e), MOUNTINFO_TOP);
    assert_int_equal(removed(&node, false, &err), 0);
}

/* A Mount that was refused for that very reason is undone, or it would keep the lock until the link goes. */
static void what_is_mounted_nowhere_is_unmounted_whatever_is_in_its_place(void **state)
{
    char moved[MOVED_MAX];
    struct error err = { 0 };
    struct mount_entry e;
    (void)state;
    const struct device_node node = mounted();
    assert_int_equal(umount2(point, UMOUNT_NOFOLLOW), 0);
    put_a_link(moved);
    assert_int_equal(removed(&node, false, &err), 0);
    assert_int_equal(unlink(place), 0);
    auto_close int file = open(place, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    assert_int_equal(removed(&node, false, &err), 0);
    assert_int_equal(unlink(place), 0);
    assert_int_equal(rename(moved, place), 0);
    assert_int_equal(pile(&node, &e), MOUNTINFO_NOWHERE);
}

static void a_loop_device_is_found_by_the_name_of_its_file(void **state)
{
    struct error err = { 0 };
    struct device_node node, found;
    int held;
    (void)state;
    auto_close int file = open(image, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    assert_true(file >= 0);
    assert_int_equal(ftruncate(file, 1 << 20), 0);
    assert_int_equal(loop_named(image, &found), 0);
    assert_int_equal(loop_attach(file, image, 4096, false, &node, &held, &err), 0);
    assert_int_equal(loop_named("/elsewhere/0123456789abcdef.img", &found), 1);
    assert_string_equal(found.path, node.path);
    assert_int_equal(found.major, node.major);
    assert_int_equal(found.minor, node.minor);
    assert_int_equal(loop_named("/elsewhere/123456789abcdef.img", &found), 0);
    (void)close(held);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_mounted_over_it_stays),
        cmocka_unit_test(what_stands_there_instead_is_nobodys_business),
        cmocka_unit_test(a_busy_one_can_be_detached),
        cmocka_unit_test(what_was_moved_away_is_not_called_unmounted),
        cmocka_unit_test(what_is_mounted_nowhere_is_unmounted_whatever_is_in_its_place),
        cmocka_unit_test(a_loop_device_is_found_by_the_name_of_its_file),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
