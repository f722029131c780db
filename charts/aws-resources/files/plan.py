"""Whether AWS is as the manifests say: fails with what `plan` would still do."""

import subprocess
import sys

done = subprocess.run([sys.executable, "-m", "applier", "plan", *sys.argv[1:]], stdout=subprocess.PIPE, text=True)
lines = done.stdout.splitlines()
left = [line for line in lines[:-1] if not line.endswith(": unchanged")]
if done.returncode or left or not lines:
    sys.exit("\n".join(["AWS is not as the manifests say:", *left]))
print(lines[-1])
