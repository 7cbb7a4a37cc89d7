"""YAML in which every option is given once; PyYAML takes the last and says nothing."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import yaml


class OnceLoader(yaml.SafeLoader):
    """Refuses a key that is given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Make a mapping.

        Raises:
            yaml.YAMLError: If a key is there twice; names it and the line.
        """
        seen: set[str] = set()
        for key, _ in node.value:
            name = str(key.value)
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if name in seen:
                    line = key.start_mark.line + 1
                    raise yaml.YAMLError(f"'{name}' is given twice, again in line {line}")
                seen.add(name)
        return super().construct_mapping(node, deep=deep)
