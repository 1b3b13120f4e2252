package messages

import "time"

// The messages of ImageServer, ObjectServer and of the transport itself.

type AddImageRequest struct {
	ImageName string
	Image     *Image
}

type AddImageResponse struct{}

type ChangeImageExpirationRequest struct {
	ExpiresAt time.Time
	ImageName string
}

type ChangeImageExpirationResponse struct {
	Error string
}

type ChangeOwnerRequest struct {
	DirectoryName string
	OwnerGroup    string
}

type ChangeOwnerResponse struct{}

type CheckDirectoryRequest struct {
	DirectoryName string
}

type CheckDirectoryResponse struct {
	DirectoryExists bool
}

type CheckImageRequest struct {
	ImageName string
}

type CheckImageResponse struct {
	ImageExists bool
}

type DeleteDirectoryRequest struct {
	DirectoryName string
}

type DeleteDirectoryResponse struct {
	Error string
}

type DeleteImageRequest struct {
	ImageName string
}

type DeleteImageResponse struct{}

type DeleteUnreferencedObjectsRequest struct {
	Percentage uint8
	Bytes      uint64
}

type DeleteUnreferencedObjectsResponse struct{}

type FindLatestImageRequest struct {
	BuildCommitId        string
	DirectoryName        string
	IgnoreExpiringImages bool
	TagsToMatch          MatchTags
}

type FindLatestImageResponse struct {
	ImageName string
	Error     string
}

type GetImageArchiveRequest struct {
	ImageName string
}

type GetImageArchiveResponse struct {
	ArchiveData       []byte
	Error             string
	ReplicationMaster string
}

type GetImageComputedFilesRequest struct {
	ImageName string
}

type GetImageComputedFilesResponse struct {
	ComputedFiles []ComputedFile
	ImageExists   bool
}

type GetImageExpirationRequest struct {
	ImageName string
}

type GetImageExpirationResponse struct {
	Error     string
	ExpiresAt time.Time
}

type GetImageInodesRequest struct {
	Filenames []string
	ImageName string
}

type GetImageInodesResponse struct {
	Error        string
	ImageExists  bool
	InodeNumbers map[string]uint64
	Inodes       map[uint64]GenericInode
	NumLinks     map[uint64]uint
}

type GetImageRequest struct {
	ImageName                  string
	IgnoreFilesystem           bool
	IgnoreFilesystemIfExpiring bool
	Timeout                    time.Duration
}

type GetImageResponse struct {
	Image                  *Image
	InformationDatabaseURL string
}

type GetImageUsageEstimateRequest struct {
	ImageName string
}

type GetImageUsageEstimateResponse struct {
	ImageExists   bool
	UsageEstimate uint64
}

type GetFilteredImageUpdatesRequest struct {
	IgnoreExpiring bool
}

type GetObjectStatisticsForImagesRequest struct {
	IgnoreMissing bool
	ImageNames    []string
}

type GetObjectStatisticsForImagesResponse struct {
	ComputationTime     time.Duration
	Error               string
	NumFileInodes       uint64
	NumImages           uint
	NumObjects          uint64
	TotalFileInodeBytes uint64
	TotalObjectBytes    uint64
}

type GetReplicationMasterRequest struct{}

type GetReplicationMasterResponse struct {
	Error             string
	ReplicationMaster string
}

type ImageUpdate struct {
	Name      string
	Directory *Directory
	Operation uint
}

type ImportTreeRequest struct {
	DirectoryName string
	ExpiresAt     time.Time
	TreeUrl       string
}

type ImportTreeResponse struct {
	FileBytesAdded    uint64
	FileObjectsAdded  uint64
	FilesDownloadTime time.Duration
	Error             string
	ImageName         string
	TreeBytesAdded    uint64
	TreeObjectsAdded  uint64
	TreesDownloadTime time.Duration
}

type ListSelectedImagesRequest struct {
	DirectoryName        string
	IgnoreExpiringImages bool
	TagsToMatch          MatchTags
}

type MakeDirectoryRequest struct {
	DirectoryName string
	MakeAll       bool
}

type MakeDirectoryResponse struct{}

type RestoreImageFromArchiveRequest struct {
	ArchiveData []byte
	ExpiresAt   time.Time
}

type RestoreImageFromArchiveResponse struct {
	Error             string
	ReplicationMaster string
}

type Object struct {
	Hash Hash
	Size uint64
}

type AddObjectRequest struct {
	Length       uint64
	ExpectedHash *Hash
}

type AddObjectResponse struct {
	ErrorString string
	Hash        Hash
	Added       bool
}

type CheckObjectsRequest struct {
	Hashes []Hash
}

type CheckObjectsResponse struct {
	ObjectSizes []uint64
}

type GetObjectsRequest struct {
	Exclusive bool
	Hashes    []Hash
}

type GetObjectsResponse struct {
	ResponseString string
	ObjectSizes    []uint64
}

type ImportObjectsRequest struct {
	BaseRemoteUrl string
	Hashes        []Hash
	ObjectSizes   []uint64
}

type ImportObjectsResponse struct {
	BytesAdded   uint64
	Error        string
	FailedIndex  uint
	ObjectsAdded uint64
}

type TestBandwidthRequest struct {
	Duration     time.Duration
	ChunkSize    uint
	SendToServer bool
}

type TestBandwidthResponse struct {
	ServerDuration time.Duration
}

type LocalUpgradeToUnixRequestOne struct {
	ClientCookie []byte
}

type LocalUpgradeToUnixResponseOne struct {
	Error          string
	ServerCookie   []byte
	SocketPathname string
}

type LocalUpgradeToUnixRequestTwo struct {
	SentServerCookie bool
}

type LocalUpgradeToUnixResponseTwo struct {
	Error string
}

type ConnectRequest struct {
	Address string
	Network string
	Timeout time.Duration
}

type ConnectResponse struct {
	Error string
}
