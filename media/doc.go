// Package media is the content repository: it takes files, keeps them, and gives them back safely, with
// thumbnails and previews of links.
//
// Files are kept by the SHA-256 of their bytes, each once, on disk or in an S3-compatible storage (see
// Blobs). What an mxc:// URI stands for is in the database.
//
// Invariants:
//   - the row of a file is in the database before its bytes are anywhere but in the staging folder, and goes
//     after them: a crash leaves nothing that the sweep does not find;
//   - the row that makes a file visible is committed when its bytes are on stable storage;
//   - nothing that somebody sent becomes part of a path or of a storage key;
//   - a file is never held in memory, and an image is decoded only when its header says that the pixels fit;
//   - nothing active is ever served inline: see Disposition.
package media
