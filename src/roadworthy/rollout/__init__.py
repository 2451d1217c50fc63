"""Rollouts: stage a version, analyse it with live traffic, promote it or roll it back."""
