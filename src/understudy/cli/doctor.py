"""`understudy doctor`: what this machine can do."""

from __future__ import annotations

import typer

from understudy.stages.doctor import GIB, Arithmetic, Diagnosis, Disk
from understudy.stages.doctor import doctor as examine


def doctor(context: typer.Context) -> None:
    """Say what this machine can do, and what is wrong or unwise.

    Measures once what bf16 gains here and remembers it. Looks at the workspace's disk when there is a workspace.
    """
    with context.obj.progress() as report:
        found = examine(context.obj.folder, report=report)
    context.obj.finish(found.as_json(), diagnosis_text(found))


def diagnosis_text(found: Diagnosis) -> str:
    """A machine on one screen, what is wrong last, where the eye ends."""
    have = ", ".join(name for name, there in found.encoders.items() if there)
    lines = [", ".join(f"{name} {version}" for name, version in found.versions.items())]
    lines += [f"Device    {device.id}: {device.name}, {device.memory / GIB:.1f} GiB" for device in found.devices]
    lines += [f"Precision {precision_text(item)}" for item in found.precision]
    lines += [f"Codecs    {have}"]
    for engine in found.engines:
        lines.append(
            f"Engine    {engine.name}: {'whole' if engine.ok else 'MISSING OR CHANGED'}, {engine.sha256[:16]}…"
        )
    lines += [
        f"Disk      {disk_text(found.disk)}",
        f"User data {disk_text(found.user_data)}",
        f"Memory    {found.memory.available / GIB:.1f} of {found.memory.total / GIB:.1f} GiB free",
        f"Cores     {found.processor.cores}, load {found.processor.load}",
    ]
    for finding in found.findings:
        lines += [f"{'Problem' if finding.level == 'problem' else 'Advice'}: {finding.message}", f"  {finding.hint}"]
    return "\n".join([*lines, *([] if found.findings else ["Nothing is wrong."])])


def precision_text(found: Arithmetic) -> str:
    gain = "" if found.gain is None else f"; bf16 is {found.gain:.2f} times as fast as fp32 here, measured"
    threads = f" with {found.threads} threads" if found.threads else ""
    return f"{found.device}: {found.dtype}{threads}{gain}"


def disk_text(disk: Disk) -> str:
    rate = "cannot be written" if disk.write_rate is None else f"writes {disk.write_rate:.0f} MiB/s"
    return f"{disk.folder}: {disk.free / GIB:.0f} of {disk.total / GIB:.0f} GiB free, {disk.file_system}, {rate}"
