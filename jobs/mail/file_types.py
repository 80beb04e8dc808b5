"""Media types by file ending: the same on every machine and with every Python.

Python's own table differs from version to version and may be changed by the machine's ``mime.types``; an
attachment must not. The names are those of IANA's registry; where it has none, the one that mail programs send.
"""

OCTET_STREAM = "application/octet-stream"
"""The type of a file with an unknown ending."""

_OFFICE = "application/vnd.openxmlformats-officedocument"
_OPEN = "application/vnd.oasis.opendocument"

_BY_TYPE = {
    # Documents
    "application/pdf": "pdf",
    "application/msword": "doc dot",
    "application/vnd.ms-excel": "xls xlt",
    "application/vnd.ms-powerpoint": "ppt pps pot",
    "application/vnd.ms-outlook": "msg",
    "application/vnd.visio": "vsd vsdx",
    f"{_OFFICE}.wordprocessingml.document": "docx",
    f"{_OFFICE}.wordprocessingml.template": "dotx",
    f"{_OFFICE}.spreadsheetml.sheet": "xlsx",
    f"{_OFFICE}.spreadsheetml.template": "xltx",
    f"{_OFFICE}.presentationml.presentation": "pptx",
    f"{_OFFICE}.presentationml.slideshow": "ppsx",
    f"{_OFFICE}.presentationml.template": "potx",
    "application/vnd.ms-word.document.macroEnabled.12": "docm",
    "application/vnd.ms-excel.sheet.macroEnabled.12": "xlsm",
    "application/vnd.ms-excel.sheet.binary.macroEnabled.12": "xlsb",
    "application/vnd.ms-powerpoint.presentation.macroEnabled.12": "pptm",
    f"{_OPEN}.text": "odt",
    f"{_OPEN}.spreadsheet": "ods",
    f"{_OPEN}.presentation": "odp",
    f"{_OPEN}.graphics": "odg",
    "application/rtf": "rtf",
    "application/epub+zip": "epub",
    "application/postscript": "ps eps ai",
    # Texts
    "text/plain": "txt text log ini conf",
    "text/csv": "csv",
    "text/tab-separated-values": "tsv tab",
    "text/html": "html htm",
    "text/css": "css",
    "text/markdown": "md markdown",
    "text/calendar": "ics ifb",
    "text/vcard": "vcf vcard",
    "application/json": "json",
    "application/geo+json": "geojson",
    "application/jsonl": "jsonl ndjson",
    "application/yaml": "yaml yml",
    "application/toml": "toml",
    "application/xml": "xml xsd",
    "application/xslt+xml": "xslt",
    "application/gpx+xml": "gpx",
    "application/vnd.google-earth.kml+xml": "kml",
    "application/vnd.google-earth.kmz": "kmz",
    "application/sql": "sql",
    # Mails, signatures, keys
    "message/rfc822": "eml",
    "application/mbox": "mbox",
    "application/pkcs7-mime": "p7m p7c",
    "application/pkcs7-signature": "p7s",
    "application/pkcs10": "p10 csr",
    "application/pkix-cert": "cer crt",
    "application/x-pkcs12": "p12 pfx",
    "application/pgp-keys": "asc",
    "application/pgp-signature": "sig",
    "application/vnd.apple.pkpass": "pkpass",
    # Archives
    "application/zip": "zip",
    "application/gzip": "gz tgz",
    "application/x-bzip2": "bz2",
    "application/x-xz": "xz",
    "application/zstd": "zst",
    "application/x-7z-compressed": "7z",
    "application/vnd.rar": "rar",
    "application/x-tar": "tar",
    # Pictures
    "image/png": "png",
    "image/jpeg": "jpg jpeg jpe",
    "image/gif": "gif",
    "image/webp": "webp",
    "image/avif": "avif",
    "image/heic": "heic",
    "image/heif": "heif",
    "image/jxl": "jxl",
    "image/svg+xml": "svg",
    "image/bmp": "bmp",
    "image/tiff": "tif tiff",
    "image/vnd.microsoft.icon": "ico",
    "image/vnd.adobe.photoshop": "psd",
    "image/vnd.dxf": "dxf",
    "image/vnd.dwg": "dwg",
    # Sound and film
    "audio/mpeg": "mp3",
    "audio/mp4": "m4a",
    "audio/aac": "aac",
    "audio/flac": "flac",
    "audio/ogg": "ogg oga opus",
    "audio/wav": "wav",
    "audio/amr": "amr",
    "video/mp4": "mp4 m4v",
    "video/mpeg": "mpg mpeg",
    "video/quicktime": "mov",
    "video/webm": "webm",
    "video/x-matroska": "mkv",
    "video/x-msvideo": "avi",
    "video/x-ms-wmv": "wmv",
    "video/3gpp": "3gp",
    # Fonts and tables
    "font/ttf": "ttf",
    "font/otf": "otf",
    "font/woff": "woff",
    "font/woff2": "woff2",
    "application/vnd.apache.parquet": "parquet",
    "application/vnd.sqlite3": "sqlite sqlite3",
}
_TYPES = {ending: kind for kind, endings in _BY_TYPE.items() for ending in endings.split()}


def type_of(name: str) -> str:
    """Return the media type of a file by its ending; ``application/octet-stream`` for an unknown ending.

    >>> type_of("Presupuesto.XLSX").rpartition(".")[2]
    'sheet'
    """
    return _TYPES.get(name.rpartition(".")[2].lower(), OCTET_STREAM) if "." in name else OCTET_STREAM
