"""libforeman as a user gets it: installed, found by pkg-config, compiled against."""

import glob
import os
import re
import shutil
import subprocess

import pytest

from harness import TOP

EXAMPLE = f"{TOP}/docs/examples/ask.c"


def run(argv, **more):
    ran = subprocess.run(argv, capture_output=True, text=True, timeout=300, **more)
    assert ran.returncode == 0, f"{argv}\n{ran.stdout}\n{ran.stderr}"
    return ran.stdout


@pytest.fixture(scope="module")
def installed(request, tmp_path_factory):
    """(the directory it was installed below, its prefix)."""
    build = os.path.abspath(request.config.getoption("--build"))
    root = str(tmp_path_factory.mktemp("installed"))
    with open(f"{build}/Makefile") as f:
        prefix = re.search(r"^prefix = (.*)$", f.read(), re.M)[1]
    run(["make", "-C", build, "-s", "install", f"DESTDIR={root}"])
    return root, prefix


def sanitizers(build):
    """The flags the programs were built with: the library needs them as well."""
    with open(f"{build}/Makefile") as f:
        flags = re.search(r"^HARDEN_LDFLAGS = (.*)$", f.read(), re.M)[1].split()
    return [flag for flag in flags if flag.startswith("-fsanitize")]


def pkg_config(installed, *words):
    root, prefix = installed
    env = dict(os.environ, PKG_CONFIG_PATH=f"{root}{prefix}/lib/pkgconfig")
    return run(["pkg-config", f"--define-variable=prefix={root}{prefix}", *words,
                "foreman"], env=env).split()


def compile_example(installed, build, out, static=False):
    flags = pkg_config(installed, "--cflags", "--libs", *(["--static"] if static else []))
    if static:
        flags = ["-l:libforeman.a" if flag == "-lforeman" else flag for flag in flags]
    run(["cc", "-Wall", "-Wextra", "-Werror", "-o", str(out), EXAMPLE, *flags,
         *sanitizers(build)])


def ask(program, installed, url, *arguments):
    root, prefix = installed
    env = dict(os.environ, LD_LIBRARY_PATH=f"{root}{prefix}/lib", FOREMAN_URL=url)
    return subprocess.run([str(program), *arguments], capture_output=True, text=True,
                          timeout=60, env=env)


def test_the_example_asks_the_service(foreman, build, installed, tmp_path):
    compile_example(installed, build, tmp_path / "ask")
    service = foreman(fake=["--tokens", "20"])
    url = f"http://127.0.0.1:{service.port}"
    answer = ask(tmp_path / "ask", installed, url, "a", "Why is the sky blue?")
    assert answer.returncode == 0, answer
    job = service.get("/jobs").json()["jobs"][0]
    content = service.get(f"/jobs/{job['id']}/artifacts/content")
    assert answer.stdout == content.body.decode() + "\n"
    assert len(answer.stdout.split()) > 5

    nobody = ask(tmp_path / "ask", installed, url, "nobody", "Why?")
    assert nobody.returncode == 1
    assert "not found" in nobody.stderr


def test_the_static_library_does_as_well(foreman, build, installed, tmp_path):
    compile_example(installed, build, tmp_path / "ask", static=True)
    libraries = run(["ldd", str(tmp_path / "ask")])
    assert "libforeman" not in libraries
    service = foreman()
    answer = ask(tmp_path / "ask", installed, f"http://127.0.0.1:{service.port}", "a", "?")
    assert answer.returncode == 0, answer


def test_a_url_that_is_none_is_told(build, installed, tmp_path):
    compile_example(installed, build, tmp_path / "ask")
    assert ask(tmp_path / "ask", installed, "nonsense", "a", "?").returncode == 78


def symbols(path, *flags):
    """Names of what it defines for others; a sanitizer's own do not count."""
    return [name for name in re.findall(r" [TDBRVW] (\S+)$",
                                        run(["nm", *flags, path]), re.M)
            if not re.match(r"_*(asan|odr_asan|tsan|ubsan|sanitizer)", name)]


def declared():
    with open(f"{TOP}/src/client/foreman.h") as f:
        return set(re.findall(r"\b(foreman_\w+)\(", f.read()))


def test_both_libraries_show_the_headers_functions_and_nothing_else(installed):
    root, prefix = installed
    shown = symbols(f"{root}{prefix}/lib/libforeman.so", "-D", "--defined-only")
    assert set(shown) == declared()
    if not shutil.which("objcopy"):
        pytest.skip("without objcopy the archive shows all")
    shown = symbols(f"{root}{prefix}/lib/libforeman.a", "-g", "--defined-only")
    assert set(shown) == declared()


def test_the_header_is_c_and_cplusplus(installed, tmp_path):
    flags = pkg_config(installed, "--cflags")
    include = f"-I{installed[0]}{installed[1]}/include"
    for compiler, language, standard in (("cc", "c", "c99"), ("c++", "c++", "c++11")):
        if not shutil.which(compiler):
            pytest.skip(f"no {compiler} here: the header is not tried with it")
        source = tmp_path / f"include.{language.replace('+', 'p')}"
        source.write_text("#include <foreman.h>\nforeman *f; foreman_submission s;\n")
        run([compiler, "-x", language, f"-std={standard}", "-pedantic", "-Wall",
             "-Werror", "-fsyntax-only", include, *flags, str(source)])


def test_all_of_it_is_installed(installed):
    root, prefix = installed
    for path in ("bin/foreman", "sbin/foreman-responder", "sbin/foreman-worker",
                 "include/foreman.h", "lib/libforeman.so", "lib/libforeman.a",
                 "lib/pkgconfig/foreman.pc", "share/man/man1/foreman.1",
                 "share/man/man3/foreman.3", "share/man/man5/foreman-settings.5",
                 "share/man/man8/foreman-responder.8",
                 "share/man/man8/foreman-worker.8"):
        assert os.path.exists(f"{root}{prefix}/{path}"), path


# --- the manual ----------------------------------------------------------------------


def pages(installed):
    found = sorted(glob.glob(f"{installed[0]}{installed[1]}/share/man/man*/*"))
    assert len(found) == 5
    return found


def text_of(page):
    if not shutil.which("mandoc"):
        pytest.skip("no mandoc here: the manual is not tested")
    return re.sub(r".\x08", "", run(["mandoc", "-Tutf8", page]))


def test_mandoc_finds_nothing_to_warn_of(installed):
    if not shutil.which("mandoc"):
        pytest.skip("no mandoc here: the manual is not tested")
    for page in pages(installed):
        run(["mandoc", "-Tlint", "-W", "warning", page])


def test_the_manual_tells_every_setting_command_and_function(installed, build):
    found = {os.path.basename(page): text_of(page) for page in pages(installed)}
    settings = run([f"{build}/foreman-worker", "--check-config"], env={})
    for name in re.findall(r"^(FOREMAN_\w+)=", settings, re.M):
        assert re.search(rf"^\s+{name}$", found["foreman-settings.5"], re.M), name
    help_text = run([f"{build}/foreman", "--help"])
    commands = re.findall(r"^  ([a-z]+(?: [a-z]+)?)", help_text, re.M)
    assert len(commands) > 15
    for command in commands:
        assert re.search(rf"^\s+{command}\b", found["foreman.1"], re.M), command
    for name in declared():
        assert f"{name}(" in found["foreman.3"], name
    for name in ("foreman-worker", "foreman-responder"):
        for option in re.findall(r"--[a-z-]+", run([f"{build}/{name}", "--help"])):
            assert option in found[f"{name}.8"], option


