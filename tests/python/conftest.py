import os
import sys
from pathlib import Path

# Before PyTorch starts its OpenMP threads: waiting ones sleep, or tests that run beside others crawl.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
sys.path.insert(0, str(Path(__file__).parent))
