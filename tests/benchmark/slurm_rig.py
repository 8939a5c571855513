"""A real SLURM of two nodes on one machine: its own keys, ports and folder, no systemd, one fake GPU a node.

Every daemon runs in the foreground as a child of the test, so that it can be ended by its id.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

NODES = ("n1", "n2")
NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "scontrol", "sinfo")
COMMANDS = ("sbatch", "srun", "sacct", "squeue", "scancel", "scontrol", "sinfo", "sacctmgr")
# In the environment of every daemon and of what it starts: tells this rig's processes from others'.
MARK = "AUTOSEG_RIG"
CONFIGURATION = """
ClusterName=rig
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
AuthType=auth/munge
AuthInfo=socket={home}/munge/socket
SlurmUser=root
SlurmdUser=root
StateSaveLocation={home}/state
SlurmdSpoolDir={home}/spool/%n
SlurmctldPidFile={home}/controller.pid
SlurmdPidFile={home}/%n.pid
SlurmctldLogFile={home}/log/controller
SlurmdLogFile={home}/log/%n
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
MpiDefault=none
PropagateResourceLimits=NONE
ReturnToService=2
SlurmdTimeout=6
KillWait=2
MinJobAge=600
SchedulerParameters=batch_sched_delay=0
GresTypes=gpu
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=2 RealMemory=6000 Gres=gpu:fake:1
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=2 RealMemory=6000 Gres=gpu:fake:1
PartitionName=gpu Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str:
    """Why there can be no rig here, or nothing."""
    if gone := [name for name in NEEDED if _found(name) is None]:
        return f"{', '.join(gone)} is not installed (apt-get install slurm-wlm munge)"
    return "" if os.geteuid() == 0 else "the daemons of SLURM want root"


def _found(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/bin")


class Rig:
    """The cluster, up between `start` and `stop`.

    Attributes:
        home: its folder.
        daemons: processes by name: ``munge``, ``controller`` and the nodes.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self.daemons: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def configuration(self) -> Path:
        """slurm.conf."""
        return self.home / "slurm.conf"

    @property
    def environment(self) -> dict[str, str]:
        """What a user's processes have: SLURM's commands of this cluster first on the path."""
        path = f"{self.home / 'bin'}:{os.environ['PATH']}"
        return {**os.environ, "PATH": path, "SLURM_CONF": str(self.configuration), MARK: str(self.home)}

    def start(self) -> None:
        """Start everything and wait until both nodes are idle."""
        for name in ("munge", "state", "spool", "log", "bin"):
            (self.home / name).mkdir(parents=True)
        (self.home / "munge").chmod(0o755)
        self._write()
        munge = self.home / "munge"
        files = [f"--{name}-file={munge / name}" for name in ("key", "pid", "log", "seed")]
        # Forced: a test's folder is closed to others, which munge takes for a mistake.
        self._run("munge", "munged", "--foreground", "--force", f"--socket={munge / 'socket'}", *files)
        wait_for(lambda: (munge / "socket").exists(), 20, "munge's socket")
        self._run("controller", "slurmctld", "-D", "-c", "-f", str(self.configuration))
        for node in NODES:
            self.start_node(node)
        wait_for(lambda: self.states() == dict.fromkeys(NODES, "idle"), 60, "two idle nodes")

    def _write(self) -> None:
        key = self.home / "munge" / "key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o600)
        text = CONFIGURATION.format(
            host=socket.gethostname().split(".")[0], ports=_free_ports(3), home=self.home
        )
        self.configuration.write_text(text)
        (self.home / "gres.conf").write_text("NodeName=n[1-2] Name=gpu Type=fake File=/dev/tty0\n")
        for name in COMMANDS:
            # Jobs lose SLURM_CONF on their way through Snakemake; what is on their path they keep.
            command = self.home / "bin" / name
            command.write_text(f'#!/bin/sh\nSLURM_CONF={self.configuration} exec {_found(name)} "$@"\n')
            command.chmod(0o755)

    def _run(self, name: str, program: str, *arguments: str) -> None:
        with open(self.home / "log" / f"{name}.out", "ab") as out:
            self.daemons[name] = subprocess.Popen(
                [str(_found(program)), *arguments],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    def start_node(self, node: str) -> None:
        """Let a node join, or come back."""
        self._run(node, "slurmd", "-D", "-N", node, "-f", str(self.configuration))

    def kill_node(self, node: str, processes: bool = True) -> None:
        """Let a node fall silent: a power cut takes its processes along, a network failure leaves them."""
        self.daemons[node].kill()
        self.daemons[node].wait()
        if not processes:
            return
        running = self.ask("squeue", "--noheader", f"--nodelist={node}", "--format=%A").split()
        # The steps' guards first: they would tell the controller that their step has ended.
        for wanted in (lambda told, _: any(f"slurmstepd: [{job}." in told for job in running), _on(node)):
            for pid in self.processes(wanted):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def processes(self, wanted: Callable[[str, str], bool] = lambda told, around: True) -> list[int]:
        """Processes of this rig whose command line and environment are wanted; the daemons' own too."""
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            with contextlib.suppress(OSError):
                told, around = (
                    (entry / name).read_bytes().replace(b"\0", b"\n").decode(errors="replace")
                    for name in ("cmdline", "environ")
                )
                if f"{MARK}={self.home}\n" in around and wanted(told, around):
                    found.append(int(entry.name))
        return found

    def ask(self, *command: str) -> str:
        """What a command of SLURM says; nothing where it fails."""
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, check=False, timeout=60
        )
        return done.stdout if done.returncode == 0 else ""

    def states(self) -> dict[str, str]:
        """Nodes and their states; a star marks one that does not answer."""
        return dict(line.split() for line in self.ask("sinfo", "-h", "-N", "-o", "%N %T").splitlines())

    def jobs(self) -> list[dict[str, str]]:
        """Running jobs and jobs that wait: id, state, node and what their comment says they do."""
        lines = self.ask("squeue", "-h", "-o", "%A|%T|%N|%k").splitlines()
        return [dict(zip(("id", "state", "node", "comment"), line.split("|"), strict=True)) for line in lines]

    def stop(self) -> None:
        """End every process of this rig, by its id."""
        for daemon in reversed(self.daemons.values()):
            daemon.terminate()
        for daemon in self.daemons.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                daemon.wait(10)
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def tails(self) -> str:
        """The ends of all logs, for a test that fails."""
        found = []
        for log in sorted((self.home / "log").iterdir()):
            found.append(f"== {log.name}\n" + "\n".join(log.read_text(errors="replace").splitlines()[-15:]))
        return "\n".join(found)


def wait_for(condition: Callable[[], object], seconds: float, what: str) -> None:
    """Wait until something is so.

    Raises:
        TimeoutError: if it never is.
    """
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise TimeoutError(f"waited {seconds:g} s for {what}")
        time.sleep(0.2)


def _on(node: str) -> Callable[[str, str], bool]:
    return lambda _, around: re.search(rf"^SLURMD_NODENAME={node}$", around, re.MULTILINE) is not None


def _free_ports(number: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
