# SPDX-License-Identifier: MIT
"""All operations that are interrupted, by name."""

import changes
import protocol
import upkeep

OPERATIONS = {operation.name: operation for operation in (*protocol.ALL, *changes.ALL, *upkeep.ALL)}
