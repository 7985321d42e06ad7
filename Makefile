# `make demo` and `make test` set everything up by themselves, on a fresh Debian 12 with python3.11,
# git and make as well as on macOS. What pip uses for an index, and whether it takes torch's CPU or
# CUDA build, is the choice of your pip configuration.

PYTHON ?= python3.11
ARGS ?=

# The oldest MuJoCo that pyproject.toml admits; the environments are tested on it as well.
OLD_MUJOCO := 3.3.7

VENV := .venv
PY := $(VENV)/bin/python
INPUTS := pyproject.toml constraints.txt
HASH := $(shell cat $(INPUTS) | cksum | tr ' ' '-')
INSTALLED := $(VENV)/.installed-$(HASH)
DOCS_INSTALLED := $(VENV)/.docs-$(HASH)
OLD_MUJOCO_DIR := $(CURDIR)/.cache/mujoco-$(OLD_MUJOCO)

# The tests run one process a core.
PYTEST := OMP_NUM_THREADS=1 $(PY) -m pytest -n 2

IS_ROOT := [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null
APT_INSTALL := apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq

# What opencv-python links and a bare Debian lacks.
OPENCV_LIBRARIES := libgl1 libglib2.0-0

.PHONY: demo test lint docs setup clean

demo: setup
	$(PY) -m egodtm_robot.train_bc env=franka_kitchen_microwave $(ARGS)

test: lint $(OLD_MUJOCO_DIR)/.installed
	$(PYTEST) $(ARGS)
	@echo "The environments once more, on MuJoCo $(OLD_MUJOCO):"
	@PYTHONPATH=$(OLD_MUJOCO_DIR) $(PY) -c \
		"import mujoco; assert mujoco.__version__ == '$(OLD_MUJOCO)', mujoco.__version__"
	PYTHONPATH=$(OLD_MUJOCO_DIR) $(PYTEST) tests/envs tests/core/drawing/test_offscreen.py

lint: setup
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy

# The documentation as a site in build/site; a broken link, a page without a place in the
# navigation or a name that the code does not have fails the build.
docs: $(DOCS_INSTALLED)
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict --quiet
	@echo "The documentation is in build/site/index.html."

setup: $(INSTALLED)

# The package metaworld pins an older MuJoCo than the tested one, hence --no-deps.
$(INSTALLED): $(INPUTS)
	@command -v $(PYTHON) >/dev/null || { \
		echo "Expected $(PYTHON) on the PATH; found none. Install Python 3.11, on Debian 12:" \
			"apt-get install -y python3.11 (or name another: make PYTHON=/path/to/python)." >&2; \
		exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Expected Python 3.11 or newer; $(PYTHON) is" \
			"$$($(PYTHON) --version). Name another: make PYTHON=/path/to/python." >&2; \
		exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		package="python$$($(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv"; \
		if $(IS_ROOT); then $(APT_INSTALL) $$package; else \
			echo "Expected $(PYTHON) to have venv and ensurepip. On Debian or Ubuntu:" \
				"sudo apt-get install -y $$package" >&2; \
			exit 1; fi; }
	$(PYTHON) -m venv $(VENV)
	PIP_CONSTRAINT=$(CURDIR)/constraints.txt $(PY) -m pip install --quiet \
		--disable-pip-version-check --editable '.[cluster,convert,data,dev,efficientnet,export,rl]'
	$(PY) -m pip install --quiet --disable-pip-version-check --no-deps \
		--constraint constraints.txt metaworld
	@$(PY) -m egodtm_robot.core.drawing.check || { \
		if $(IS_ROOT); then \
			($(APT_INSTALL) $$($(PY) -c \
				'from egodtm_robot.core.drawing.gl import EGL_PACKAGES as p; print(*p)') \
				&& $(PY) -m egodtm_robot.core.drawing.check) || \
			($(APT_INSTALL) $$($(PY) -c \
				'from egodtm_robot.core.drawing.gl import OSMESA_PACKAGES as p; print(*p)') \
				&& $(PY) -m egodtm_robot.core.drawing.check); \
		else exit 1; fi; }
	@$(PY) -c 'import cv2' 2>/dev/null || if $(IS_ROOT); then $(APT_INSTALL) $(OPENCV_LIBRARIES); \
		else echo "OpenCV, which tracking=byte_track needs, misses a library. On Debian or Ubuntu:" \
			"sudo apt-get install -y $(OPENCV_LIBRARIES)" >&2; fi
	@rm -f $(VENV)/.installed-*
	@touch $@

$(DOCS_INSTALLED): $(INSTALLED)
	PIP_CONSTRAINT=$(CURDIR)/constraints.txt $(PY) -m pip install --quiet \
		--disable-pip-version-check --editable '.[docs]'
	@rm -f $(VENV)/.docs-*
	@touch $@

$(OLD_MUJOCO_DIR)/.installed: $(INSTALLED)
	$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: \
		--upgrade --target $(OLD_MUJOCO_DIR) mujoco==$(OLD_MUJOCO)
	@touch $@

clean:
	rm -rf $(VENV) .cache .mypy_cache .pytest_cache .ruff_cache build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
