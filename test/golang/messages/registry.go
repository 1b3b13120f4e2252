// Package messages has the values that clients and servers exchange.
package messages

import (
	"encoding/gob"
	"reflect"
)

// Inodes are the kinds of inodes.
var Inodes = []any{
	&ComputedRegularInode{}, &DirectoryInode{}, &RegularInode{}, &SpecialInode{}, &SymlinkInode{},
}

// RegisterInodes makes them known to gob, by the names that they have on the wire.
func RegisterInodes() {
	for _, inode := range Inodes {
		gob.RegisterName("*filesystem."+reflect.TypeOf(inode).Elem().Name(), inode)
	}
}

// Structs are all types of values.
var Structs = []any{
	DirectoryEntry{}, DirectoryInode{}, RegularInode{}, ComputedRegularInode{},
	SymlinkInode{}, SpecialInode{}, FileSystem{}, Filter{}, Trigger{}, Triggers{},
	Annotation{}, Package{}, Image{}, ImageArchive{}, DirectoryMetadata{}, Directory{},
	ComputedFile{}, AddImageRequest{}, AddImageResponse{}, ChangeImageExpirationRequest{},
	ChangeImageExpirationResponse{}, ChangeOwnerRequest{}, ChangeOwnerResponse{},
	CheckDirectoryRequest{}, CheckDirectoryResponse{}, CheckImageRequest{},
	CheckImageResponse{}, DeleteDirectoryRequest{}, DeleteDirectoryResponse{},
	DeleteImageRequest{}, DeleteImageResponse{}, DeleteUnreferencedObjectsRequest{},
	DeleteUnreferencedObjectsResponse{}, FindLatestImageRequest{},
	FindLatestImageResponse{}, GetImageArchiveRequest{}, GetImageArchiveResponse{},
	GetImageComputedFilesRequest{}, GetImageComputedFilesResponse{},
	GetImageExpirationRequest{}, GetImageExpirationResponse{}, GetImageInodesRequest{},
	GetImageInodesResponse{}, GetImageRequest{}, GetImageResponse{},
	GetImageUsageEstimateRequest{}, GetImageUsageEstimateResponse{},
	GetFilteredImageUpdatesRequest{}, GetObjectStatisticsForImagesRequest{},
	GetObjectStatisticsForImagesResponse{}, GetReplicationMasterRequest{},
	GetReplicationMasterResponse{}, ImageUpdate{}, ImportTreeRequest{},
	ImportTreeResponse{}, ListSelectedImagesRequest{}, MakeDirectoryRequest{},
	MakeDirectoryResponse{}, RestoreImageFromArchiveRequest{},
	RestoreImageFromArchiveResponse{}, Object{}, AddObjectRequest{}, AddObjectResponse{},
	CheckObjectsRequest{}, CheckObjectsResponse{}, GetObjectsRequest{},
	GetObjectsResponse{}, ImportObjectsRequest{}, ImportObjectsResponse{},
	TestBandwidthRequest{}, TestBandwidthResponse{}, LocalUpgradeToUnixRequestOne{},
	LocalUpgradeToUnixResponseOne{}, LocalUpgradeToUnixRequestTwo{},
	LocalUpgradeToUnixResponseTwo{}, ConnectRequest{}, ConnectResponse{},
}
