//go:build !any

package main

func more() {}
