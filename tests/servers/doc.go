// Package servers runs S3 servers for tests: real ones, each a process of its own with a directory and a bucket of its
// own on loopback, and proxies in front of them that do what networks, providers and liars do.
//
//	cairn → [Proxy: counts, delays, cuts, lies] → Server: versitygw → directory, which a test may damage
//
// The servers are built from the nested modules below tests/s3, so that what they depend on stays out of this module; the
// Go build cache keeps them (versitygw: a minute once, half a second from then on). They listen on ports that the kernel
// gives to nobody else, so that a killed server comes back under its address. Everything ends with its test; servers end
// with the test process too, however it ends.
//
// Methods may be called concurrently, also while requests are served, except that those that start something may end the
// test and so belong to its goroutine.
package servers
