// Package fedora is an HTTP front that answers as Fedora 4 does to POST /rest/fcr:backup and /rest/fcr:restore, so that scripts written for Fedora drive
// this program. What a backup and a restore are is the Backend's business; here are paths, statuses, bodies, who may ask, and when.
//
//	POST /rest/fcr:backup            200, the canonical path of the directory     POST /rest/NAME/fcr:backup    of one source
//	POST /rest/fcr:restore           204                                          POST /rest/NAME/fcr:restore
//	GET  /rest                       200, for scripts that look whether the server is there
//
// Errors are Fedora's: 500 with a line for each problem, beginning with its own words where it has some. Beyond them there are 401 (user or
// password), 403 (a restore where none is allowed, a request of a web page), 404, 405, 409 (a job is at work), 413 and 503 (shutting down).
//
// Invariants
//   - Directories lie below Options.Root, links resolved; the Backend is given nothing else.
//   - One job at a time. A job belongs to the server and not to the connection: it goes on when the client gives up, as it does in Fedora, and
//     ends early only when the server is told to end and Grace is over.
//   - Without a user only the machine itself may ask: Serve refuses other addresses, and requests that a web page made a browser send.
//   - Everything is bounded: connections, headers, bodies, the time until a request is there. Only jobs take as long as they take.
//
// A Server may be served once. It leaves nothing behind but the directories that the Backend filled.
package fedora
