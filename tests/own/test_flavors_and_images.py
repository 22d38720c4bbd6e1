"""Flavors, and images: registered, uploaded in pieces, checked, shared by content, deleted when nobody needs them."""

from __future__ import annotations

import errno
import hashlib
import io
import subprocess
import threading

import pytest

from brickyard.core import errors
from brickyard.service import images, site


def qcow2(path, *options: str) -> bytes:
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *options, str(path), "3G"], check=True)
    return path.read_bytes()


def stored(api) -> list[str]:
    return sorted(path.name for path in api.site.world.images.iterdir() if not path.name.startswith(".lock"))


def a_disk(api, name="d", format="raw", **more):
    return api.json("POST", "/v1/images", {"name": name, "kind": "disk", "format": format, **more}, 201)


def test_flavors_are_made_listed_and_deleted(api):
    small = api.a_flavor("small", local_storage_gb=2)
    big = api.a_flavor("big", root_gib=20)
    assert api.json("GET", "/v1/flavors")["flavors"] == [big, small]
    assert api.json("GET", f"/v1/flavors/{small['id']}") == small
    api.fault("POST", "/v1/flavors", {"name": "small", "vcpus": 1, "memory_mib": 64}, 409)
    api.json("DELETE", "/v1/flavors/small", status=204)
    api.json("DELETE", "/v1/flavors/small", status=404)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"vcpus": 0}, "vcpus"),
        ({"memory_mib": "lots"}, "memory_mib"),
        ({"name": "a/b"}, "name"),
        ({"local_storage_type": "fast"}, "local_storage_gb"),
        ({"local_storage_gb": 1, "local_storage_type": "fast"}, "local_storage_type"),
    ],
)
def test_wrong_flavors_name_the_field(api, change, field):
    assert api.fault("POST", "/v1/flavors", {"name": "f", "vcpus": 1, "memory_mib": 64, **change})["field"] == field


def test_a_disk_is_active_once_its_content_is_there(api, tmp_path):
    content = qcow2(tmp_path / "d.qcow2")
    image = a_disk(api, format="qcow2")
    assert image["status"] == "queued"
    image = api.upload(image["id"], "disk", content)
    assert (image["status"], image["size_bytes"], image["min_gib"]) == ("active", len(content), 3)
    assert image["virtual_size_bytes"] == 3 * 1024**3
    assert stored(api) == [hashlib.sha256(content).hexdigest()]
    assert api.upload(image["id"], "disk", content) == image
    other = qcow2(tmp_path / "e.qcow2", "-o", "cluster_size=4k")
    assert "another disk" in api.upload(image["id"], "disk", other, 409)["error"]["message"]
    assert stored(api) == [hashlib.sha256(content).hexdigest()]


def test_a_disk_that_lies_or_points_outside_is_refused_and_not_kept(api, tmp_path):
    content = qcow2(tmp_path / "d.qcow2")
    error = api.upload(a_disk(api, "lie")["id"], "disk", content, 400)["error"]
    assert error["field"] == "format"
    assert "qcow2" in error["message"]
    pointing = qcow2(tmp_path / "o.qcow2", "-b", str(tmp_path / "d.qcow2"), "-F", "qcow2")
    image = a_disk(api, "outside", "qcow2")
    assert "backing" in api.upload(image["id"], "disk", pointing, 400)["error"]["message"]
    assert api.json("GET", f"/v1/images/{image['id']}")["status"] == "queued"
    assert stored(api) == []


def test_a_disk_whose_data_are_cut_off_is_refused_and_not_kept(api, tmp_path):
    path = tmp_path / "d.qcow2"
    qcow2(path)
    subprocess.run(["qemu-io", "-f", "qcow2", "-c", "write -q -P 7 0 1M", str(path)], check=True)
    image = a_disk(api, format="qcow2")
    said = api.upload(image["id"], "disk", path.read_bytes()[:-4096], 400)["error"]["message"]
    assert "cut off" in said
    assert said.endswith("upload it again")
    assert (api.json("GET", f"/v1/images/{image['id']}")["status"], stored(api)) == ("queued", [])
    assert api.upload(image["id"], "disk", path.read_bytes())["status"] == "active"


def test_wrong_images_name_the_field_and_what_is_allowed(api):
    error = api.fault("POST", "/v1/images", {"name": "i", "kind": "disk"})
    assert error["field"] == "format"
    assert "vmdk" in error["message"]
    assert api.fault("POST", "/v1/images", {"name": "i", "kind": "iso"})["field"] == "kind"
    assert api.fault("POST", "/v1/images", {"name": "i", "kind": "kernel", "format": "raw"})["field"] == "format"
    wrong = {"name": "i", "kind": "disk", "format": "raw", "cmdline": "x"}
    assert api.fault("POST", "/v1/images", wrong)["field"] == "cmdline"
    kernel = api.json("POST", "/v1/images", {"name": "k", "kind": "kernel"}, 201)
    error = api.upload(kernel["id"], "disk", b"x", 400)["error"]
    assert error["field"] == "role"
    assert "kernel, initrd" in error["message"]
    api.upload(kernel["id"], "kernel", b"", 400)
    api.upload("00000000-0000-0000-0000-000000000000", "kernel", b"x", 404)


def test_a_kernel_is_active_with_its_kernel(api):
    image = api.json("POST", "/v1/images", {"name": "k", "kind": "kernel", "cmdline": "quiet"}, 201)
    assert api.upload(image["id"], "initrd", b"initrd")["status"] == "queued"
    image = api.upload(image["id"], "kernel", b"kernel")
    assert image["status"] == "active"
    assert sorted(image["files"]) == ["initrd", "kernel"]


def test_files_are_shared_by_content_and_go_with_their_last_image(api):
    one, two = api.a_kernel("same"), api.json("POST", "/v1/images", {"name": "two", "kind": "kernel"}, 201)
    api.upload(two["id"], "kernel", b"kernel of same")
    assert len(stored(api)) == 2
    api.json("DELETE", f"/v1/images/{one['id']}", status=204)
    assert len(stored(api)) == 1
    api.json("DELETE", f"/v1/images/{two['id']}", status=204)
    assert stored(api) == []


def test_an_upload_that_breaks_off_leaves_nothing(api):
    image = a_disk(api)
    caller = site.Caller("u", image["project_id"], ("admin",), "r", is_admin=True)
    with pytest.raises(errors.Invalid, match="3 of 10 bytes"):
        images.upload(api.site, caller, image["id"], "disk", io.BytesIO(b"abc"), 10)
    assert stored(api) == []


def test_an_upload_larger_than_allowed_is_refused(api):
    image = a_disk(api)
    caller = site.Caller("u", image["project_id"], ("admin",), "r", is_admin=True)
    with pytest.raises(errors.OverQuota, match="at most"):
        images.upload(api.site, caller, image["id"], "disk", io.BytesIO(b""), api.site.settings.image_max_bytes + 1)


def test_a_full_disk_is_told_as_what_it_is(api):
    class Full:
        def read(self, size: int) -> bytes:
            raise OSError(errno.ENOSPC, "No space left on device")

    image = a_disk(api)
    caller = site.Caller("u", image["project_id"], ("admin",), "r", is_admin=True)
    with pytest.raises(errors.NoSpace, match="image store is full"):
        images.upload(api.site, caller, image["id"], "disk", Full(), 10)
    assert stored(api) == []


def test_a_key_too_much_and_one_that_is_missing_are_named(api):
    error = api.fault("POST", "/v1/flavors", {"name": "f", "vcpus": 1, "memory_mib": 64, "disk": 1})
    assert error["field"] == "disk"
    assert "allowed: name, vcpus, memory_mib, root_gib" in error["message"]
    assert api.fault("POST", "/v1/flavors", {"name": "f", "vcpus": 1})["field"] == "memory_mib"
    assert "JSON object" in api.fault("POST", "/v1/flavors", [1])["message"]
    broken = {"content": b"{", "headers": {"Content-Type": "application/json"}}
    assert "Malformed" in api.fault("POST", "/v1/flavors", **broken)["message"]


@pytest.mark.parametrize("same", [True, False])
def test_two_uploads_of_one_image_make_one_image(api, same):
    for round in range(5):
        image = a_disk(api, f"d{round}")
        contents = [b"a" * 70000, b"a" * 70000 if same else b"b" * 70000]
        results: list[int] = []

        def send(content: bytes, image=image, results=results) -> None:
            path = f"/v1/images/{image['id']}/files/disk"
            results.append(api.call("PUT", path, content=content).status_code)

        threads = [threading.Thread(target=send, args=(content,)) for content in contents]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(results) == ([200, 200] if same else [200, 409])
        shown = api.json("GET", f"/v1/images/{image['id']}")
        assert (shown["status"], shown["size_bytes"]) == ("active", 70000)
        assert stored(api) == [shown["files"]["disk"]]
        api.json("DELETE", f"/v1/images/{image['id']}", status=204)
        assert stored(api) == []


def test_an_upload_races_with_the_deletion_of_its_twin(api):
    """No image ever names a file that is gone."""
    for round in range(10):
        one, two = a_disk(api, f"one{round}"), a_disk(api, f"two{round}")
        api.upload(one["id"], "disk", b"c" * 70000)
        deleter = threading.Thread(target=api.json, args=("DELETE", f"/v1/images/{one['id']}", None, 204))
        deleter.start()
        shown = api.upload(two["id"], "disk", b"c" * 70000)
        deleter.join()
        assert stored(api) == [shown["files"]["disk"]]
        api.json("DELETE", f"/v1/images/{two['id']}", status=204)


def test_images_belong_to_a_project_unless_they_are_public(projects):
    ann, bob, rob, admin = (projects[name] for name in ("ann", "bob", "rob", "admin"))
    mine = ann.a_kernel("mine")
    bob.fault("GET", f"/v1/images/{mine['id']}", status=404)
    bob.fault("DELETE", f"/v1/images/{mine['id']}", status=404)
    bob.upload(mine["id"], "initrd", b"other", 404)
    assert bob.json("GET", "/v1/images")["images"] == []
    assert [image["id"] for image in rob.json("GET", "/v1/images")["images"]] == [mine["id"]]
    rob.fault("DELETE", f"/v1/images/{mine['id']}", status=403)
    rob.upload(mine["id"], "initrd", b"other", 403)
    ann.fault("POST", "/v1/images", {"name": "p", "kind": "kernel", "is_public": True}, 403)
    public = admin.json("POST", "/v1/images", {"name": "p", "kind": "kernel", "is_public": True}, 201)
    assert bob.json("GET", "/v1/images", params={"name": "p"})["images"] == [public]
    bob.fault("DELETE", f"/v1/images/{public['id']}", status=403)


def test_only_administrators_make_flavors(projects):
    projects["ann"].fault("POST", "/v1/flavors", {"name": "f", "vcpus": 1, "memory_mib": 64}, 403)
    projects["admin"].a_flavor("f")
    assert projects["rob"].json("GET", "/v1/flavors")["flavors"][0]["name"] == "f"
    projects["ann"].fault("DELETE", "/v1/flavors/f", status=403)


def test_an_image_stays_while_something_is_being_made_of_it(api):
    image = a_disk(api)
    api.upload(image["id"], "disk", b"d" * 70000)
    api.site.waker.stop()
    volume = api.json("POST", "/v3/volumes", {"volume": {"imageRef": image["id"], "size": 1}}, 202)["volume"]
    assert volume["id"] in api.fault("DELETE", f"/v1/images/{image['id']}", status=409)["message"]
    assert len(stored(api)) == 1


def test_an_image_stays_while_an_instance_of_it_is_being_built(api):
    kernel = api.a_kernel()
    api.a_flavor()
    api.site.waker.stop()
    instance = api.json("POST", "/v1/instances", {"name": "i", "flavor": "small", "image": "tiny"}, 202)
    assert instance["id"] in api.fault("DELETE", f"/v1/images/{kernel['id']}", status=409)["message"]
