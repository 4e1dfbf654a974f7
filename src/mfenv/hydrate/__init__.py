"""From locks to prefixes: plan, bring the files here, verify, link, publish."""
