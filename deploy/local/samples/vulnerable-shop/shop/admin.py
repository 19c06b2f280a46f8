"""What the shop's owner can do, and unfortunately everybody else."""

import hashlib
import subprocess

ADMIN_PASSWORD = "correct-horse-battery-staple"


def backup(folder: str) -> None:
    subprocess.run(f"tar czf /var/backups/shop.tgz {folder}", shell=True, check=True)


def password_hash(password: str) -> str:
    return hashlib.md5(password.encode()).hexdigest()
